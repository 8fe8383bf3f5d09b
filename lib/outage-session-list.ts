/**
 * A user's session list while Redis is down and a database has the sessions (`onUnavailable: "database"`).
 *
 * The list has one entry. Its token stands for every session that the user has at that moment. Better Auth reads the list to end all of a
 * user's sessions, and deletes each token in it. By this deletion the store recognizes such an end, with every version of Better Auth. A
 * deletion of the list itself proves nothing, because a stranger can cause it with the list's key as a bearer token. (Better Auth also does
 * not delete a token if its value is a list.)
 */

/** Begins the token of each entry. A stranger cannot guess it. */
const SECRET = `${crypto.randomUUID()}:`;

/** How long the entry seems to live and the not-before marker is kept, in s: as long as Better Auth's sessions live by default. */
const LIFE_S = 7 * 24 * 3600;

/** Every session of a user that was created before a time. */
export interface SessionsBefore {
	readonly user: string;
	/** In ms since the epoch. */
	readonly before: number;
	/** How long the not-before marker is kept, in s. */
	readonly life: number;
}

/** The list of a user, as Better Auth writes it. */
export function outageSessionList(user: string): string {
	const now = Date.now();
	return JSON.stringify([{ token: `${SECRET}${now}:${user}`, expiresAt: now + LIFE_S * 1000 }]);
}

/** The sessions that the token of an `outageSessionList` stands for; `undefined` for any other token. */
export function sessionsOfOutageToken(token: string): SessionsBefore | undefined {
	if (!token.startsWith(SECRET)) return undefined;
	const end = token.indexOf(":", SECRET.length);
	return { before: Number(token.slice(SECRET.length, end)), user: token.slice(end + 1), life: LIFE_S };
}
