// A sign-in's calls of the secondary storage, as sign-in-recording.js took them from Better Auth, made anew for another
// user, token and time. (Apart from the recording, so that a peer's process need not load Better Auth for it.)

/** By id, the rows of the users who sign in, as the recorded calls write them into their sessions. */
export const rows = new Map();

/** The recorded calls for a session. */
export function replayOf(calls, session) {
	const places = [
		["{token}", session.token],
		["{user}", session.userId],
		["{ip}", `ip-of-${session.userId}`],
		["{createdAt}", session.createdAt.toISOString()],
		["{expiresAt}", session.expiresAt.toISOString()],
		["{expiresAtMs}", String(session.expiresAt.getTime())],
	];
	const replayed = calls.map((call) => replaced(call, places));
	const [, , record] = replayed.find(([method, key]) => method === "set" && key === session.token);
	rows.set(session.userId, JSON.parse(record).user);
	return replayed;
}

/** The call with every text in it that `places` names replaced, in order. */
export function replaced(call, places) {
	return call.map((part) =>
		typeof part === "string" ? places.reduce((text, [from, to]) => text.replaceAll(from, to), part) : part,
	);
}
