// Keys as strangers make them up, in cookies, bearer tokens and links: what ends them where nothing lies.

import { fresh } from "./records.js";

const long = () => fresh("x").padEnd(4000, "x");

/**
 * Ends, by every call, what is not there and can be no session. None of it may leave anything in Redis.
 * @param {{ storage: import("better-auth-redis-store").RedisStorage, store: import("better-auth-redis-store").RedisSessionStore }} doors
 */
export async function endMadeUpKeys({ storage, store }) {
	const families = ["active-sessions-", "revoked-sessions-before-", "verification:", "api-key:", "dpop-proof:"];
	const keys = [long(), "x".repeat(513), ...families.flatMap((family) => [fresh(family), `${family}${long()}`])];
	for (const key of keys) {
		await storage.delete(key);
		await store.deleteSession(key);
		await storage.set(key, "[]", 0);
	}
	for (const key of [...keys, fresh("token")]) await storage.getAndDelete(key);
}
