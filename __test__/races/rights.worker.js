// One of two servers that change the rights and the names of the same users at the same time: see rights.test.js.
//
// Runs go side by side, one user each. The server that answers a run's last request reads the records at once, before the looks.

import { setTimeout as sleep } from "node:timers/promises";
import { seeded } from "../support/counts.js";
import { index, ready, report } from "../support/worker.js";
import { meet } from "./race.js";
import { Server } from "./rights.js";

/** How late a statement is at most, on its way to the database and on its way back, in ms. */
const MAX_LATE_MS = 60;

let aheadMs = 0;
const MachineDate = Date;
/** This server's clock, which may be ahead of the other's. */
globalThis.Date = class ServerDate extends MachineDate {
	constructor(...args) {
		if (args.length === 0) super(MachineDate.now() + aheadMs);
		else super(...args);
	}
	static now() {
		return MachineDate.now() + aheadMs;
	}
	static [Symbol.hasInstance](value) {
		return value instanceof MachineDate;
	}
};

const { place, boss, waves, looks } = await ready();
const random = seeded(`rights, worker ${index}`);
const server = await Server.open(place, { looks, delay: () => sleep(random.below(MAX_LATE_MS + 1)) });
// Warm: a first request that takes long would begin its statements after all others are over.
await Promise.all(Array.from({ length: 20 }, () => server.askAsAdministrator(boss.cookie)));
const verdict = { runs: 0, unlikeBefore: 0, unlikeAfter: 0, tooMuch: 0, wrong: [], unexpected: [] };

for (const wave of waves) {
	aheadMs = wave.aheadMs[index];
	await meet();
	await Promise.all(wave.runs.flatMap((run) => requestsOf(run).map((request) => take(run, request))));
}
aheadMs = 0;
await meet();
await server.looksAreOver();

const statements = await meet(server.statements);
for (const { runs } of waves) await Promise.all(runs.map((run) => check(run)));
verdict.unexpected.push(...server.logged);
await report({ ...verdict, looks: server.looks() });

/** Those that this server answers. */
function requestsOf({ requests }) {
	return requests.filter((request) => request.server === index);
}

async function take(run, { startMs, what, value }) {
	await sleep(startMs);
	const { id, email, sessions } = run;
	const { cookie } = random.pick(sessions);
	const action = {
		"set-role": () => server.setRole(boss.cookie, id, value),
		rename: () => server.rename(cookie, value),
		picture: () => server.setPicture(id, value),
		"sign-in": () => server.signIn(email),
	}[what];
	const outcome = await action().catch((error) => verdict.unexpected.push(error.stack));
	const answered = await server.redis.rpush(answersTo(run), JSON.stringify(what === "sign-in" ? outcome : null));
	if (answered < run.requests.length) return;
	verdict.runs++;
	if ((await server.unlike(id, await allSessions(run))).length > 0) verdict.unlikeBefore++;
}

/** Key of a list with the answers to a run's requests: of a sign-in the session. */
function answersTo({ id }) {
	return `answers:${id}`;
}

async function allSessions(run) {
	const answers = await server.redis.lrange(answersTo(run), 0, -1);
	return [...run.sessions, ...answers.map((answer) => JSON.parse(answer)).filter((session) => session !== null)];
}

async function check(run) {
	const row = await server.rowOf(run.id);
	const sessions = await allSessions(run);
	if (index === 0) {
		const unlike = await server.unlike(run.id, sessions);
		if (unlike.length > 0) verdict.unlikeAfter++;
		if (unlike.some((copy) => copy?.role === "admin" && row.role === "user")) verdict.tooMuch++;
	}
	const wrong = (await Promise.all(sessions.map((session) => server.differences(row, session)))).flat();
	if (wrong.length === 0) return;
	const happened = statements.flatMap((of, n) => (of.get(run.id) ?? []).map((line) => `${line} (server ${n})`));
	verdict.wrong.push([`server ${index}:`, ...wrong, ...happened.sort(), JSON.stringify(run.requests)].join("\n"));
}
