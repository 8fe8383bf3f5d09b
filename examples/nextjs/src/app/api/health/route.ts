// For whoever watches the servers: how the checks went, and how the store stands.

import { storage } from "@/lib/auth";
import { checksSoFar } from "@/lib/checks";
import { serverName } from "@/lib/server";

export const dynamic = "force-dynamic";

export async function GET() {
	const redis = await storage.ping().then(
		() => "up",
		(error: Error) => error.message,
	);
	const health = { server: serverName, redis, checks: checksSoFar(), store: storage.metrics() };
	return Response.json(health, { status: redis === "up" ? 200 : 503 });
}
