/**
 * A user's list of sessions while Redis cannot answer and a database has the sessions (`onUnavailable: "database"`).
 *
 * It has one entry, whose token stands for every session that the user has at that moment. When Better Auth ends all of a user's sessions, it
 * reads the list and deletes each token of it: so the store learns of it, whatever the version. A deletion of the list itself says nothing. A
 * stranger can cause it, by naming the list as a bearer token. (Better Auth does not delete a token whose value is a list, either.)
 */

/** Strangers cannot make up a token that begins with it. */
const SECRET = `${crypto.randomUUID()}:`;

/** How long the entry seems to live; how long "every session before" is kept, in s: as long as Better Auth's sessions live by default. */
const LIFE_S = 7 * 24 * 3600;

/** Every session of a user that was created before a moment, in ms since the epoch. */
export interface EverySession {
	readonly user: string;
	readonly before: number;
	/** In s. */
	readonly life: number;
}

/** The list of a user, as Better Auth writes it. */
export function outageList(user: string): string {
	const now = Date.now();
	return JSON.stringify([{ token: `${SECRET}${now}:${user}`, expiresAt: now + LIFE_S * 1000 }]);
}

/** What the token of an `outageList` stands for; `undefined` of any other token. */
export function everySession(token: string): EverySession | undefined {
	if (!token.startsWith(SECRET)) return undefined;
	const end = token.indexOf(":", SECRET.length);
	return { before: Number(token.slice(SECRET.length, end)), user: token.slice(end + 1), life: LIFE_S };
}
