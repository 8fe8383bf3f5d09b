// Who asks, which server answered, and how long the check took.

import { serverName } from "@/lib/server";
import { getSession } from "@/lib/session";
import { unavailableJson } from "@/lib/unavailable";

export async function GET(request: Request) {
	try {
		const start = performance.now();
		const session = await getSession(request);
		const checkMicroseconds = (performance.now() - start) * 1000;
		if (!session) return new Response(null, { status: 401 });
		return Response.json({ email: session.user.email, server: serverName, checkMicroseconds });
	} catch (error) {
		// Redis cannot tell. That is no sign-out.
		console.error("Session check failed:", error);
		return unavailableJson();
	}
}
