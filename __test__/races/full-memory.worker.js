// Signs in until the memory is full, and beyond; then ends sessions while it stays full: see full-memory.test.js.

import { seeded } from "../support/counts.js";
import { index, ready, report } from "../support/worker.js";
import { openApp } from "./app.js";
import { meet, stagger, sum } from "./race.js";

const USERS = ["ann", "bob", "cid", "dan"];
/** Above what the sessions and connections of the start take. */
const ROOM_BYTES = 256 * 1024;

const { place, signIns } = await ready();
const random = seeded(`full memory, worker ${index}`);
const app = await openApp(place);
app.seedUsers(USERS);
const verdict = { signedIn: 0, refused: 0, wrong: [] };
/** This worker's sessions, by user. */
const own = new Map(USERS.map((user) => [user, []]));
await signsIn(5);

await meet();
if (index === 0) {
	const [, used] = /used_memory:(\d+)/.exec(await app.redis.info("memory"));
	await app.redis.config("SET", "maxmemory", Number(used) + ROOM_BYTES);
}
await meet();
await signsIn(signIns);
const all = await everyones();
if (index === 0) await expectWhole(all);

// Now nothing that takes memory may pass, however much is freed.
await meet();
if (index === 0) await app.redis.config("SET", "maxmemory", 1);
await meet();
const before = verdict.signedIn;
await Promise.all([signsIn(50), ...own.get("ann").map((token) => app.signOut(token))]);
if (verdict.signedIn !== before) verdict.wrong.push("a sign-in passed");
await expectEnded("sign-out", own.get("ann"));
await expectEnded("getAndDelete", own.get("bob"), (token) => app.storage.getAndDelete(token));
await expectEnded("deleteSession", own.get("cid").splice(0, 2), (token) => app.sessions.deleteSession(token));

await meet();
const { dan, cid } = await everyones();
if (index === 0) {
	await app.revokeAll(dan[0]);
	await expectEnded("revoke-sessions", dan);
} else {
	await app.sessions.deleteUserSessions("cid");
	await expectEnded("deleteUserSessions", cid);
}

await meet();
if (index === 0) await app.redis.config("SET", "maxmemory", 0);
await meet();
const refused = verdict.refused;
for (const tokens of own.values()) tokens.length = 0;
await signsIn(20);
if (verdict.refused !== refused) verdict.wrong.push("a sign-in was refused when there was room again");
const final = await everyones();
if (index === 0) await expectWhole(final);
verdict.wrong.push(...app.logged);
await report(verdict);

async function signsIn(times) {
	await Promise.all(
		Array.from({ length: times }, async (_, n) => {
			const user = USERS[n % USERS.length];
			await stagger(random);
			try {
				own.get(user).push(await app.signIn(user));
				verdict.signedIn++;
			} catch (error) {
				verdict.refused++;
				if (error.code !== "OUT_OF_MEMORY") verdict.wrong.push(error.stack);
			}
		}),
	);
}

/** The sessions of all workers, by user. */
async function everyones() {
	return sum(await meet(Object.fromEntries(own)));
}

/** Every session is a record in its user's index, and there is nothing else in either place. */
async function expectWhole(sessions) {
	for (const [user, tokens] of Object.entries(sessions)) {
		const indexed = [...(await app.index(user)).keys()];
		if (indexed.sort().join() !== [...tokens].sort().join()) {
			verdict.wrong.push(`${tokens.length} sessions, ${indexed.length} in the index`);
		}
	}
	const tokens = Object.values(sessions).flat();
	const keys = (await app.keys("session:*")).map((key) => key.slice("session:".length));
	const lying = await app.lying(keys);
	const there = keys.filter((_, n) => typeof lying[n] === "object");
	if (there.sort().join() !== tokens.sort().join()) {
		verdict.wrong.push(`${tokens.length} sessions, ${there.length} records`);
	}
}

async function expectEnded(how, tokens, end = async () => {}) {
	await Promise.all(tokens.map(end));
	const left = (await app.lying(tokens)).filter((lying) => lying !== "ended").length;
	if (left > 0) verdict.wrong.push(`${how}: ${left} of ${tokens.length} not ended`);
}
