// Ends sessions while something else writes them back, round after round: see endings.test.js.
//
// Every other batch each worker does both sides itself; in between, one worker ends what the other writes.

import { seeded } from "../support/counts.js";
import { count, index, ready, report } from "../support/worker.js";
import { foundEnded, OURS, openApp } from "./app.js";
import { meet, now, stagger } from "./race.js";

const USERS = 6;
const SESSIONS = 8;

/** What may race: done to each session, or once to all of a user's, from a session of the user that nobody signs out. */
const ENDINGS = {
	"sign-out": { each: (token) => app.signOut(token) },
	"revoke-sessions": { once: (from) => app.revokeAll(from) },
	"set with ttl 0 or less": {
		each: async (token) => app.storage.set(token, (await app.storage.get(token)) ?? "", -random.below(2)),
	},
	getAndDelete: { each: (token) => app.storage.getAndDelete(token) },
	deleteSession: {
		each: (token) => {
			asked(token);
			return app.sessions.deleteSession(token);
		},
	},
	deleteUserSessions: {
		once: (_, user) => {
			asked(revokedBefore(user));
			return app.sessions.deleteUserSessions(user);
		},
	},
};
const WRITES = {
	refresh: { each: (token) => app.refresh(token) },
	"set-active": { each: (token) => app.setOrganization(token, "org") },
	"update-user": { once: (from) => app.updateProfile(from, { name: `name ${random.next()}` }) },
	updateSession: {
		each: async (token) => {
			await app.sessions.updateSession(token, { note: random.next() });
			written.set(token, now());
		},
	},
};

const { place, ending, write, rounds } = await ready();
const random = seeded(`${ending} against ${write}, worker ${index}`);
const dead = place.kind === OURS ? "ended" : "gone";

/** When the storage was last done with a write of a key, and first asked to end it: what happens within the endpoints. */
const written = new Map();
const ended = new Map();
const app = await openApp(place, watch);

const verdict = { sessions: 0, rounds: 0, late: 0, alive: 0, listed: 0, left: 0, back: 0, unexpected: [] };
const mine = [];

for (let batch = 0, done = 0; done < rounds; batch++) {
	const users = Array.from({ length: USERS }, (_, n) => `${ending}-${write}-${batch}-${n}`.replaceAll(" ", "-"));
	app.seedUsers(users, ["org"]);
	const own = await Promise.all(users.filter((_, n) => n % count === index).map(signIns));
	written.clear();
	ended.clear();
	const all = (await meet(own)).flat();

	const across = batch % 2 === 0;
	const ends = !across || index === (batch / 2) % count;
	const writes = !across || !ends;
	const endSpans = new Map();
	const writeSpans = new Map();
	await Promise.all(
		(across ? all : own).flatMap((user) => [
			...(ends ? start(ENDINGS[ending], user, endSpans, () => false) : []),
			...(writes ? start(WRITES[write], user, writeSpans, foundEnded) : []),
		]),
	);

	const seen = await meet({ endSpans, writeSpans, ended, written });
	const raced = all.flatMap(({ user, tokens }) =>
		tokens.filter((token) => overlap(seen, token)).map((token) => isLate(seen, user, token)),
	);
	done += raced.length;
	if (index === 0) {
		verdict.rounds += raced.length;
		verdict.late += raced.filter((late) => late).length;
	}
	for (const user of own) await check(user);
	mine.push(...own);
}

// What was dead after its round is dead when all is over.
await meet();
for (const lying of await app.lying(mine.flatMap(({ tokens }) => tokens)))
	if (typeof lying === "object") verdict.back++;
verdict.unexpected.push(...app.logged);
await report(verdict);

async function signIns(user) {
	const other = await app.signIn(user);
	const tokens = await Promise.all(Array.from({ length: SESSIONS }, () => app.signIn(user)));
	return { user, tokens, other };
}

/** Starts an operation on all of a user's sessions, and keeps its time for each of them. */
function start({ each, once }, { user, tokens, other }, spans, mayFail) {
	const run = async (touched, operation) => {
		await stagger(random);
		const began = now();
		await operation().catch((error) => {
			if (!mayFail(error)) verdict.unexpected.push(error.stack);
		});
		for (const token of touched) spans.set(token, [began, now()]);
	};
	if (once) return [run(tokens, () => once(other, user))];
	return tokens.map((token) => run([token], () => each(token)));
}

function find(seen, what, token) {
	return seen.map((one) => one[what].get(token)).find((span) => span !== undefined);
}

/** Whether the two operations on a session were under way at the same time. */
function overlap(seen, token) {
	const end = find(seen, "endSpans", token);
	const write = find(seen, "writeSpans", token);
	return end[0] < write[1] && write[0] < end[1];
}

/** Whether the session was written back while it was being ended, or after: the write that must not count. */
function isLate(seen, user, token) {
	const ends = seen.flatMap(({ ended }) => [ended.get(token), ended.get(revokedBefore(user))]);
	const first = Math.min(...ends.filter((at) => at !== undefined));
	return seen.some(({ written }) => written.get(token) > first);
}

/** The key by which Better Auth tells that all of a user's sessions were revoked. */
function revokedBefore(user) {
	return `revoked-sessions-before-${user}`;
}

function asked(key) {
	if (!ended.has(key)) ended.set(key, now());
}

function watch(storage) {
	return {
		...storage,
		set: async (key, value, ttl) => {
			if (ttl <= 0 || key.startsWith(revokedBefore(""))) {
				asked(key);
				return storage.set(key, value, ttl);
			}
			await storage.set(key, value, ttl);
			written.set(key, now());
		},
		delete: (key) => {
			asked(key);
			return storage.delete(key);
		},
		getAndDelete: (key) => {
			asked(key);
			return storage.getAndDelete(key);
		},
	};
}

async function check({ user, tokens }) {
	const [lying, listed, looks] = await Promise.all([
		app.lying(tokens),
		app.index(user),
		Promise.all(tokens.map((token) => app.look(token))),
	]);
	verdict.sessions += tokens.length;
	tokens.forEach((token, n) => {
		if (looks[n] !== null) verdict.alive++;
		if (listed.has(token)) verdict.listed++;
		if (lying[n] !== dead) verdict.left++;
	});
}
