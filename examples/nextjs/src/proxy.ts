// Before each page of the account: is somebody signed in?

import { type NextRequest, NextResponse } from "next/server";
import { getPageSession } from "@/lib/session";

export async function proxy(request: NextRequest) {
	try {
		if (await getPageSession(request)) return NextResponse.next();
	} catch (error) {
		// Redis cannot tell. That is no sign-out: the cookie stays, and the page that is shown asks again.
		console.error("Session check failed:", error);
		const headers = { "Retry-After": "2" };
		return NextResponse.rewrite(new URL("/unavailable", request.url), { status: 503, headers });
	}
	const signIn = new URL("/sign-in", request.url);
	signIn.searchParams.set("next", request.nextUrl.pathname);
	return NextResponse.redirect(signIn);
}

export const config = { matcher: ["/dashboard/:path*", "/devices/:path*"] };
