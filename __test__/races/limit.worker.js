// Signs a user in from several servers at once, under a limit: see limit.test.js.

import { randomUUID } from "node:crypto";
import { seeded } from "../support/counts.js";
import { count, index, ready, report } from "../support/worker.js";
import { openApp } from "./app.js";
import { meet, stagger } from "./race.js";

const HOUR_MS = 3_600_000;

const { place, limit, times } = await ready();
const random = seeded(`limit of ${limit}, worker ${index}`);
/** When each session was created, by its own telling. @type {Map<string, number>} */
const createdAt = new Map();
const app = await openApp({ ...place, options: { maxSessionsPerUser: limit } }, noteCreation);
const verdict = { times: 0, signIns: 0, wrong: [] };

for (let time = 0; time < times; time++) {
	const user = `limited-to-${limit}-${time}`;
	app.seedUsers([user]);
	createdAt.clear();
	await meet();
	await Promise.all(Array.from({ length: 1 + random.below(4) }, () => signsIn(user)));
	const created = new Map((await meet([...createdAt])).flat());
	if (index !== time % count) continue;

	verdict.times++;
	verdict.signIns += created.size;
	await expectLive(user, created);

	// Whoever came last stays, even by a clock that says that it is the oldest.
	const late = { token: randomUUID(), userId: user, createdAt: new Date(Date.now() - HOUR_MS) };
	await app.sessions.createSession({ ...late, expiresAt: new Date(Date.now() + HOUR_MS) });
	created.set(late.token, late.createdAt.getTime());
	const live = await expectLive(user, created);
	if (!live.includes(late.token)) verdict.wrong.push("the session just created was ended");
}
verdict.wrong.push(...app.logged);
await report(verdict);

async function signsIn(user) {
	await stagger(random);
	await app.signIn(user);
}

function noteCreation(storage) {
	return {
		...storage,
		set: (key, value, ttl) => {
			const { session } = JSON.parse(value);
			if (session) createdAt.set(key, Date.parse(session.createdAt));
			return storage.set(key, value, ttl);
		},
	};
}

/**
 * Looks whether as many sessions live as may, and the right ones: who signs in ends the oldest of the others, so only the last
 * place can go to one that is not among the newest. Answers those that live.
 */
async function expectLive(user, created) {
	const byAge = [...created.keys()].sort((a, b) => created.get(b) - created.get(a) || (a < b ? 1 : -1));
	const lying = await app.lying(byAge);
	const live = byAge.filter((_, n) => typeof lying[n] === "object");
	const expected = Math.min(limit, byAge.length);
	if (live.length !== expected) verdict.wrong.push(`${live.length} live, not ${expected}`);
	if (!byAge.slice(0, limit - 1).every((token) => live.includes(token)))
		verdict.wrong.push("one of the newest was ended");
	if (lying.includes("gone")) verdict.wrong.push("one went without a tombstone");

	const listed = (await app.sessions.getUserSessions(user)).map(({ token }) => token);
	const indexed = [...(await app.index(user)).keys()];
	const same = [listed, indexed].every((tokens) => [...tokens].sort().join() === [...live].sort().join());
	if (!same) verdict.wrong.push(`${live.length} live, ${listed.length} listed, ${indexed.length} indexed`);
	return live;
}
