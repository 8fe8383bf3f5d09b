// When each session was last used, and on which server: in a hash per user, beside the sessions, by the application's own Redis client.

import { getRedisClient } from "./redis";
import { serverName } from "./server";

export interface LastUse {
	at: Date;
	server: string;
}

interface Session {
	id: string;
	userId: string;
	expiresAt: Date;
}

/** Takes a note. A note that cannot be taken is nobody's error. */
export async function noteUse({ id, userId, expiresAt }: Session): Promise<void> {
	const key = keyOf(userId);
	const note = JSON.stringify({ at: Date.now(), server: serverName });
	await getRedisClient()
		.pipeline()
		.hset(key, id, note)
		.pexpireat(key, expiresAt.getTime())
		.exec()
		.catch(() => {});
}

/** By session id. Empty when Redis cannot tell. */
export async function lastUses(userId: string): Promise<Map<string, LastUse>> {
	const notes = await getRedisClient()
		.hgetall(keyOf(userId))
		.catch(() => ({}));
	return new Map(
		Object.entries(notes).map(([id, note]) => {
			const { at, server } = JSON.parse(note);
			return [id, { at: new Date(at), server }];
		}),
	);
}

function keyOf(userId: string): string {
	return `last-use:${userId}`;
}
