// Better Auth's own routes answer 500, or throw, when they cannot reach Redis. Browsers, load balancers and caches understand 503 better: not now.

import { auth, storage } from "./auth";
import { unavailableJson } from "./unavailable";

export async function answerAuth(request: Request): Promise<Response> {
	try {
		const response = await auth.handler(request);
		if (response.status !== 500 || (await isRedisUp())) return response;
	} catch (error) {
		if (await isRedisUp()) throw error;
	}
	return unavailableJson();
}

const isRedisUp = () =>
	storage.ping().then(
		() => true,
		() => false,
	);
