// Better Auth 1.4 takes the store as it is. Checked by tsc; never run.

import { betterAuth } from "better-auth-1.4";
import { redisStorage } from "better-auth-redis-store";

export const auth = betterAuth({ secondaryStorage: redisStorage() });
export const withUrl = betterAuth({ secondaryStorage: redisStorage("redis://localhost:6379") });
export const withOptions = betterAuth({
	secondaryStorage: redisStorage({ host: "localhost", port: 6379, keyPrefix: "better-auth:", tls: true }),
	session: { storeSessionInDatabase: true },
});

// What is inferred from Better Auth's options is not lost on the way.
export async function inferred(headers: Headers): Promise<string | undefined> {
	const session = await auth.api.getSession({ headers });
	return session?.user.email;
}

// @ts-expect-error A store needs more than get.
export const incomplete = betterAuth({ secondaryStorage: { get: redisStorage().get } });
