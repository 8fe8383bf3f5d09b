// The sessions of a user, on the store that REDIS_URL names: what a route handler does with the package.
import { redisSessionStore as store } from "better-auth-redis-store";

export const dynamic = "force-dynamic";

export async function GET() {
	const userId = crypto.randomUUID();
	const expiresAt = new Date(Date.now() + 60_000);
	await store.createSession({ token: `laptop of ${userId}`, userId, expiresAt });
	await store.createSession({ token: `phone of ${userId}`, userId, expiresAt });
	const before = await store.getUserSessions(userId);
	const ended = await store.deleteUserSessions(userId);
	const left = await store.getUserSessions(userId);
	return new Response(`listed ${before.length}, ended ${ended}, left ${left.length}`);
}
