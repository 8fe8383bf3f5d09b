// Who asks, which server answered, and how long the check took.

import { serverName } from "@/lib/server";
import { getSession } from "@/lib/session";

export async function GET(request: Request) {
	const start = performance.now();
	const session = await getSession(request);
	const checkMicroseconds = (performance.now() - start) * 1000;
	if (!session) return new Response(null, { status: 401 });
	return Response.json({ email: session.user.email, server: serverName, checkMicroseconds });
}
