// Two servers have old sessions in hand; one ends them, and both write them back: see late-writes.test.js.

import { randomUUID } from "node:crypto";
import { index, ready, report } from "../support/worker.js";
import { openApp } from "./app.js";
import { meet } from "./race.js";

const AGE_MS = 400_000;
/** Of a user. */
const SESSIONS = 100;
const { place, sessions, forgets } = await ready();
const app = await openApp(place);
// Of users whose sessions no other test has ended.
const users = Array.from({ length: Math.ceil(sessions / SESSIONS) }, (_, n) => `old-${forgets}-${n}`);
app.seedUsers(users);

/** The ways to end a session. All of a user's go last, with what the others left. */
const ENDINGS = [
	(token) => app.signOut(token),
	(token) => app.storage.getAndDelete(token),
	(token) => app.sessions.deleteSession(token),
];

const mine = index === 0 ? await Promise.all(Array.from({ length: sessions }, (_, n) => signsInLongAgo(n))) : [];
const [tokens] = await meet(mine);

const inHand = await Promise.all(tokens.map((token) => app.storage.get(token)));
const withUser = inHand.filter((json) => JSON.parse(json).user).length;
await meet();

if (index === 1) {
	const one = tokens.slice(0, (tokens.length * 3) / 4);
	await Promise.all(one.map((token, n) => ENDINGS[n % ENDINGS.length](token)));
	for (const user of users) await app.sessions.deleteUserSessions(user);
	if (forgets) await Promise.all(tokens.map((token) => app.redis.del(`session:${token}`)));
}
await meet();

// Both at once. To Better Auth a write that is refused looks like any other.
const later = new Date(Date.now() + 3_600_000);
const answers = await Promise.all(
	tokens.flatMap((token, n) => [
		app.storage.set(token, refreshed(inHand[n]), 3600).then(() => "set"),
		app.sessions.updateSession(token, { expiresAt: later }).catch(({ code }) => code),
	]),
);
await meet();

const lying = await app.lying(tokens);
const read = await Promise.all(tokens.map((token) => app.storage.get(token)));
await report({
	readBefore: inHand.filter((json) => typeof json === "string").length,
	withUser,
	answers: Object.fromEntries([...new Set(answers)].map((what) => [what, answers.filter((a) => a === what).length])),
	lying: [...new Set(lying.map((found) => (typeof found === "object" ? "record" : found)))],
	read: read.filter((value) => value !== null).length,
	listed: await listed((user) => app.sessions.getUserSessions(user)),
	viewed: await listed(async (user) => (await app.storage.get(`active-sessions-${user}`)) ?? ""),
	indexed: await listed(async (user) => [...(await app.index(user))]),
});

/** Signs in with a clock of 400 s ago: every other session in Better Auth's form, the rest as the guide writes them. */
async function signsInLongAgo(n) {
	const createdAt = new Date(Date.now() - AGE_MS);
	const user = users[n % users.length];
	if (n % 2 === 0) {
		const token = await app.signIn(user);
		await app.sessions.updateSession(token, { createdAt, updatedAt: createdAt });
		return token;
	}
	const token = randomUUID();
	const expiresAt = new Date(Date.now() + 3_000_000);
	await app.sessions.createSession({ token, userId: user, createdAt, updatedAt: createdAt, expiresAt });
	return token;
}

/** How much a way to list finds, of all users. */
async function listed(list) {
	const found = await Promise.all(users.map(list));
	return found.reduce((total, { length }) => total + length, 0);
}

function refreshed(json) {
	const record = JSON.parse(json);
	Object.assign(record.session ?? record, { expiresAt: later, updatedAt: new Date() });
	return JSON.stringify(record);
}
