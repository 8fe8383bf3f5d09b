// Better Auth's own routes answer 500 when they cannot reach Redis. Browsers, load balancers and caches understand 503 better: not now.

import { auth, storage } from "./auth";

const HEADERS = { "Retry-After": "2", "Cache-Control": "no-store" };

export async function answerAuth(request: Request): Promise<Response> {
	const response = await auth.handler(request);
	if (response.status !== 500) return response;
	const isRedisUp = await storage.ping().then(
		() => true,
		() => false,
	);
	if (isRedisUp) return response; // something else is wrong
	return Response.json(
		{ code: "UNAVAILABLE", message: "This does not work at the moment." },
		{ status: 503, headers: HEADERS },
	);
}
