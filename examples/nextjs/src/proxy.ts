// Before each page of the account: is somebody signed in?

import { type NextRequest, NextResponse } from "next/server";
import { getPageSession } from "@/lib/session";
import { unavailable } from "@/lib/unavailable";

export async function proxy(request: NextRequest) {
	try {
		if (await getPageSession(request)) return NextResponse.next();
	} catch (error) {
		// Redis cannot tell. That is no sign-out: the cookie stays, and the page that is shown comes back.
		console.error("Session check failed:", error);
		return unavailable();
	}
	const signIn = new URL("/sign-in", request.url);
	signIn.searchParams.set("next", request.nextUrl.pathname);
	return NextResponse.redirect(signIn);
}

export const config = { matcher: ["/dashboard/:path*", "/devices/:path*"] };
