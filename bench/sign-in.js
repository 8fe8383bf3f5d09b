// A sign-in's calls of the secondary storage, as sign-in-recording.js took them from Better Auth, made anew for another
// user, token and time. (Apart from the recording, so that a peer's process need not load Better Auth for it.)

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
	return calls.map((call) => replaced(call, places));
}

/** The call with every text in it that `places` names replaced, in order. */
export function replaced(call, places) {
	return call.map((part) =>
		typeof part === "string" ? places.reduce((text, [from, to]) => text.replaceAll(from, to), part) : part,
	);
}
