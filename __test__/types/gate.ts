// The gate's types: what it answers is what the application's own auth.api.getSession answers. Checked by tsc; never run.

import { betterAuth } from "better-auth";
import { betterAuth as betterAuth14 } from "better-auth-1.4";
import { betterAuth as betterAuth15 } from "better-auth-1.5";
import { betterAuth as betterAuth16 } from "better-auth-1.6";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { type GateSession, sessionGate } from "better-auth-redis-store/gate";

/** `true` when both are the very same type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function assertType<_Holds extends true>(): void {}

const storage = redisStorage();
const user = { additionalFields: { theme: { type: "string", required: false } } } as const;
const auth = betterAuth({ secondaryStorage: storage, user });
const getSession = sessionGate(auth, storage);

export async function asking(headers: Headers, request: Request): Promise<void> {
	const session = await getSession(headers);
	assertType<Same<typeof session, Awaited<ReturnType<typeof auth.api.getSession>>>>();
	assertType<Same<typeof session, GateSession<typeof auth>>>();
	// @ts-expect-error It may be null.
	session.user;
	if (!session) return;
	assertType<Same<typeof session.session.expiresAt, Date>>();
	assertType<Same<typeof session.user.theme, string | null | undefined>>();
	// @ts-expect-error Not a field of this application.
	session.user.colour;

	await getSession(request);
	await getSession("name=value");
	await getSession({ cookie: "name=value" });
	await getSession({ headers });
	const response = await getSession({ headers, asResponse: true });
	assertType<Same<typeof response, Response>>();
	// @ts-expect-error Not a request.
	await getSession(1);

	const { fast, refused, full } = getSession.stats();
	assertType<Same<typeof full, Record<string, number>>>();
	assertType<Same<typeof fast, number>>();
	assertType<Same<typeof refused, { noCookie: number; badSignature: number }>>();
}

export async function earlier(headers: Headers): Promise<(string | undefined)[]> {
	return [
		(await sessionGate(betterAuth14({ secondaryStorage: storage }), storage)(headers))?.user.email,
		(await sessionGate(betterAuth15({ secondaryStorage: storage }), storage)(headers))?.user.email,
		(await sessionGate(betterAuth16({ secondaryStorage: storage }), storage)(headers))?.user.email,
	];
}

// @ts-expect-error An option of its own only.
sessionGate(auth, storage, { onRefresh: "never" });
// @ts-expect-error The other face is no storage.
sessionGate(auth, new RedisSessionStore());
