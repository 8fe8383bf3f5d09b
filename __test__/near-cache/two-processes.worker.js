// One server of the application: signs in, refreshes, revokes and checks at random (two-processes.test.js). It hears which
// sessions the other one made and ended, and looks most at those that were ended lately.

import { foundEnded, openApp } from "../races/app.js";
import { now } from "../races/race.js";
import { seeded } from "../support/counts.js";
import { index, ready, report } from "../support/worker.js";
import { ready as cacheReady, counters, isHit, readNow, turn } from "./stores.js";

const TASKS = 6;
/** How long a session is looked at in every turn that the other process is about to end, and how long that waits. */
const WATCHED_MS = 60;
const NOTICE_MS = 8;
/** Better Auth's line when the other process ends a user's last session between its reading the session and its reading the list. */
const ENDED_MEANWHILE = "Active sessions list not found in secondary storage";
/** How long a session that was ended is looked at. */
const LOOKED_AT_MS = 2000;
/** How many sessions a process keeps alive, about. */
const LIVE = 300;

const { place, users, seconds } = await ready();
const random = seeded(`two processes, worker ${index}`);
const app = await openApp(place);
app.seedUsers(users);
await app.storage.ping();
await cacheReady(app.storage);

/** The live sessions of both, by token: whose they are. @type {Map<string, string>} */
const live = new Map();
/** What was ended lately. @type {{ token: string, at: number }[]} */
const ended = [];
/** When each was told to us as ended. @type {Map<string, number>} */
const revoked = new Map();
/** When the last check began that found it valid. @type {Map<string, number>} */
const lastValid = new Map();
/** What the other one is about to end: until when it is watched. @type {Map<string, number>} */
const watched = new Map();
const counts = { signIns: 0, refreshes: 0, revocations: 0, checks: 0, hits: 0, checksOfRevoked: 0 };
const unexpected = [];

process.on("message", ({ type, signedIn, soon, revoked }) => {
	if (type !== "news") return;
	for (const token of soon) watched.set(token, now() + WATCHED_MS);
	for (const [token, user] of signedIn) if (!ended.some((one) => one.token === token)) live.set(token, user);
	for (const token of revoked) bury(token);
});

const hitsBefore = counters(app.storage).hits;
await Promise.all(Array.from({ length: LIVE / 2 }, signIn));
const end = now() + seconds * 1000;
const lastRevocation = end - LOOKED_AT_MS / 2;
await Promise.all([...Array.from({ length: TASKS }, work), watch()]);
counts.hits = counters(app.storage).hits - hitsBefore;
unexpected.push(...app.logged.filter((line) => line !== ENDED_MEANWHILE));
await report({ revoked, lastValid, counts, unexpected });

async function work() {
	while (now() < end) {
		const dice = random.below(100);
		const action = dice < 6 ? signIn : dice < 10 ? refresh : dice < 16 ? revoke : dice < 60 ? look : check;
		await action().catch((error) => {
			if (!foundEnded(error)) unexpected.push(error.stack);
		});
		if (random.below(4) === 0) await turn(); // or a run of hits lets nobody else have a turn
	}
}

/** Looks in every turn at what is about to be ended, until it is: so it is seen when that takes effect. What Redis is asked for, it is once. */
async function watch() {
	const asked = new Set();
	while (now() < end) {
		for (const [token, until] of watched) {
			if (now() > until) watched.delete(token);
			if (asked.has(token)) continue;
			const begun = now();
			const answer = readNow(app.storage, token);
			if (isHit(answer)) {
				judge(token, begun, answer);
				continue;
			}
			asked.add(token);
			answer
				.then((found) => judge(token, begun, found))
				.catch((error) => unexpected.push(error.stack))
				.finally(() => asked.delete(token));
		}
		await turn();
	}
}

async function signIn() {
	const user = random.pick(users);
	const token = await app.signIn(user);
	counts.signIns++;
	live.set(token, user);
	tell({ signedIn: [[token, user]] });
}

async function refresh() {
	const token = anyLive();
	if (token === undefined) return;
	counts.refreshes++;
	await app.refresh(token);
}

/** Ends a session, or all of its user. */
async function revoke() {
	if (now() > lastRevocation || live.size < LIVE) return;
	const token = anyLive();
	const user = live.get(token);
	const way = random.below(10);
	const tokens = way < 7 ? [token] : [...live].filter(([, owner]) => owner === user).map(([one]) => one);
	for (const one of tokens) live.delete(one); // so that nobody here takes it for another revocation
	tell({ soon: tokens });
	await new Promise((resolve) => setTimeout(resolve, random.below(NOTICE_MS)));
	if (way < 3) await app.signOut(token);
	else if (way < 5) await app.storage.delete(token);
	else if (way < 7) await app.sessions.deleteSession(token);
	else if (way < 8) await app.sessions.deleteUserSessions(user);
	else await app.revokeAll(token);
	const at = now();
	counts.revocations++;
	for (const one of tokens) {
		revoked.set(one, at);
		bury(one);
	}
	tell({ revoked: tokens });
}

/** A session check as a request makes it. */
async function look() {
	const token = anyToken();
	if (token === undefined) return;
	const begun = now();
	judge(token, begun, await app.look(token));
}

/** What such a check asks its storage, alone: nothing lies between the clock and the question. */
async function check() {
	const token = anyToken();
	if (token === undefined) return;
	const begun = now();
	const answer = readNow(app.storage, token);
	judge(token, begun, isHit(answer) ? answer : await answer);
}

function judge(token, begun, found) {
	counts.checks++;
	if (!found) watched.delete(token);
	if (!live.has(token)) counts.checksOfRevoked++;
	if (found) lastValid.set(token, Math.max(begun, lastValid.get(token) ?? 0));
}

function anyLive() {
	return live.size > 0 ? random.pick([...live.keys()]) : undefined;
}

function anyToken() {
	while (ended.length > 0 && ended[0].at < now() - LOOKED_AT_MS) ended.shift();
	if (ended.length > 0 && random.below(2) === 0) {
		// The latest most of all.
		const latest = random.below(2) === 0 ? ended.slice(-5) : ended;
		return random.pick(latest).token;
	}
	return anyLive();
}

function bury(token) {
	live.delete(token);
	ended.push({ token, at: now() });
}

function tell({ signedIn = [], soon = [], revoked = [] }) {
	process.send({ type: "news", signedIn, soon, revoked });
}
