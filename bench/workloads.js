// What is measured: each workload is an operation on one of a peer's faces, at so many in flight, over given records.
// Which peer is asked for which workload follows from the faces that it has (peers.js).

import { enlarged, headersFor, LIFE_S, makeId, makeRecord, makeSession, shuffled, users } from "./records.js";
import { replayOf } from "./sign-in.js";

/**
 * @typedef {object} Operation
 * @property {boolean} consumes every call needs an input of its own, made anew for each run
 * @property {(random: () => number, count: number, workload: object) => { inputs: unknown[], records: object[] }} make the
 * inputs of calls, and the records that must be there before them. What consumes makes `count` inputs.
 * @property {(face: object, input: any) => Promise<unknown>} call
 * @property {(result: any, input: any, workload: object) => boolean} holds looked at after every call
 * @property {(face: object, input: any) => Promise<boolean>} [took] whether it did its work, asked untimed for a few inputs
 */

/** @type {Record<string, Operation>} */
export const operations = {
	read: {
		consumes: false,
		make: readsOf,
		call: (face, token) => face.read(token),
		holds: (value) => value !== null,
	},
	/** Of sessions that nobody has read before. */
	readOnce: {
		consumes: true,
		make: (random, count) => {
			const records = filled(random, { users: count, devices: 1, bytes: 600 });
			return { records, inputs: tokensOf(records) };
		},
		call: (face, token) => face.read(token),
		holds: (value) => value !== null,
	},
	check: {
		consumes: false,
		make: (random, _, workload) => {
			const { records, inputs } = readsOf(random, _, workload);
			return { records, inputs: inputs.map((token) => headersFor(token)) };
		},
		call: (face, headers) => face.check(headers),
		holds: (answer) => answer !== null,
	},
	/** Of sessions that nobody has checked before. */
	checkOnce: {
		consumes: true,
		make: (random, count) => {
			const records = filled(random, { users: count, devices: 1, bytes: 600 });
			return { records, inputs: tokensOf(records).map((token) => headersFor(token)) };
		},
		call: (face, headers) => face.check(headers),
		holds: (answer) => answer !== null,
	},
	/** Of cookies that somebody else has signed. */
	checkForged: {
		consumes: false,
		make: (random, _, workload) => {
			const { records, inputs } = readsOf(random, _, workload);
			return { records, inputs: inputs.map((token) => headersFor(token, "another secret")) };
		},
		call: (face, headers) => face.check(headers),
		holds: (answer) => answer === null,
	},
	update: {
		consumes: false,
		make: readsOf,
		call: (face, token) => face.update(token, nextChange()),
		holds: () => true,
		took: async (face, token) => JSON.stringify(await face.read(token)).includes(MOVED),
	},
	mix: {
		consumes: false,
		make: (random, _, workload) => {
			const { records, inputs: tokens } = readsOf(random, _, workload);
			// Ten times through all of them, so that each is written once.
			const pass = (_, start) => tokens.map((token, number) => ({ token, writes: (start + number) % 10 === 0 }));
			return { records, inputs: Array.from({ length: 10 }, pass).flat() };
		},
		call: (face, { token, writes }) => (writes ? face.update(token, nextChange()) : face.read(token)),
		holds: (value, { writes }) => writes || value !== null,
	},
	create: {
		consumes: true,
		make: (random, count) => ({
			records: [],
			inputs: Array.from({ length: count }, () => {
				const user = users[Math.floor(random() * users.length)];
				return enlarged(makeSession(random, user.id), 600);
			}),
		}),
		call: (face, session) => face.create(session),
		holds: () => true,
		took: async (face, { userId }) => (await face.list(userId)).length > 0,
	},
	end: {
		consumes: true,
		make: (random, count) => {
			const records = filled(random, { users: count, devices: 1, bytes: 600 });
			return { records, inputs: tokensOf(records) };
		},
		call: (face, token) => face.end(token),
		holds: () => true,
		took: async (face, token) => (await face.read(token)) === null,
	},
	list: {
		consumes: false,
		make: (random, _, workload) => {
			const records = filled(random, workload);
			return { records, inputs: ownersOf(records) };
		},
		call: (face, userId) => face.list(userId),
		holds: (sessions, _, { devices }) => sessions.length === devices,
	},
	endAll: {
		consumes: true,
		make: (random, count, { devices }) => {
			const records = filled(random, { users: count, devices, bytes: 600 });
			return { records, inputs: ownersOf(records) };
		},
		call: (face, userId) => face.endAll(userId),
		holds: () => true,
		took: async (face, userId) => (await face.list(userId)).length === 0,
	},
	signIn: {
		consumes: true,
		make: (random, count, { calls }) => ({
			records: [],
			inputs: Array.from({ length: count }, () => {
				const session = makeSession(random, makeId(random));
				return { token: session.token, calls: replayOf(calls, session) };
			}),
		}),
		call: async (storage, { calls }) => {
			for (const [method, ...args] of calls) await storage[method](...args);
		},
		holds: () => true,
		took: async (storage, { token }) => (await storage.get(token)) !== null,
	},
};

/** In flight. */
const DEPTHS = [1, 8, 64, 512];
const READS = { operation: "read", users: 1000, devices: 1, bytes: 600 };
const BURST = 10_000;

/**
 * In the order in which they are run. Those on the `betterAuth` and `check` faces come last: memory is told before Better Auth is loaded.
 * `mostInputs` bounds what a consuming run prepares, where one call uses up a lot.
 */
export const workloads = [
	...DEPTHS.map((inFlight) => store(`read-${inFlight}`, "read, 600 B", { ...READS, inFlight })),
	store("read-200B", "read, 200 B", { ...READS, inFlight: 64, bytes: 200 }),
	store("read-4kB", "read, 4 kB", { ...READS, inFlight: 64, bytes: 4096 }),
	store("read-64kB", "read, 64 kB", { ...READS, inFlight: 64, bytes: 65_536 }),
	store("read-non-ascii", "read, 600 B not ASCII", { ...READS, inFlight: 64, ascii: false }),
	store("burst", "10,000 different sessions read at once", {
		...READS,
		users: 1000,
		devices: BURST / 1000,
		inFlight: BURST,
		once: true,
	}),
	store("read-cold", "read, 600 B, each for the first time", { operation: "readOnce", inFlight: 1 }),
	store("create", "create", { operation: "create", inFlight: 64 }),
	store("update", "update", { ...READS, operation: "update", inFlight: 64 }),
	store("mix", "90 % read, 10 % update", { ...READS, operation: "mix", inFlight: 64 }),
	store("end", "end", { operation: "end", inFlight: 64 }),
	store("list-1", "list, 1 device", { operation: "list", users: 1000, devices: 1, bytes: 600, inFlight: 1 }),
	store("list-10", "list, 10 devices", { operation: "list", users: 100, devices: 10, bytes: 600, inFlight: 1 }),
	store("list-100", "list, 100 devices", { operation: "list", users: 20, devices: 100, bytes: 600, inFlight: 1 }),
	store("end-all-100", "end all of 100 devices", { operation: "endAll", devices: 100, inFlight: 8, mostInputs: 100 }),
	{ id: "sign-in", title: "sign-in's store work", face: "storage", operation: "signIn", inFlight: 64 },
	{
		id: "sign-in-look",
		title: "sign-in's store work, with the look",
		face: "storageLooking",
		operation: "signIn",
		inFlight: 64,
	},
	betterAuth("auth-find-1", "findSession", { ...READS, inFlight: 1 }),
	betterAuth("auth-find-64", "findSession", { ...READS, inFlight: 64 }),
	betterAuth("auth-create-64", "createSession", { operation: "create", inFlight: 64 }),
	{
		...betterAuth("auth-create-look-64", "createSession, with the look"),
		face: "betterAuthLooking",
		operation: "create",
		inFlight: 64,
	},
	betterAuth("auth-update-64", "updateSession", { ...READS, operation: "update", inFlight: 64 }),
	betterAuth("auth-end-64", "deleteSession", { operation: "end", inFlight: 64 }),
	betterAuth("auth-list-100", "listSessions, 100 devices", {
		operation: "list",
		users: 20,
		devices: 100,
		bytes: 600,
		inFlight: 1,
	}),
	betterAuth("auth-burst", "10,000 different sessions checked at once", {
		...READS,
		devices: BURST / 1000,
		inFlight: BURST,
		once: true,
	}),
	check("check-1", "session check", { ...READS, operation: "check", inFlight: 1 }),
	check("check-64", "session check", { ...READS, operation: "check", inFlight: 64 }),
	check("check-first-64", "session check, each for the first time", { operation: "checkOnce", inFlight: 64 }),
	check("check-forged-1", "check of a forged cookie", { ...READS, operation: "checkForged", inFlight: 1 }),
].map((workload) => ({ ...workload, consumes: operations[workload.operation].consumes }));

/** On the store's own operations. */
function store(id, title, rest) {
	return { id, title, face: "store", ...rest };
}

/** Through Better Auth's internal adapter. */
function betterAuth(id, title, rest) {
	return { id, title, face: "betterAuth", ...rest };
}

/** From a request's headers to the session and its user: `auth.api.getSession`, or the gate. */
function check(id, title, rest) {
	return { id, title, face: "check", ...rest };
}

/** Records of the first `users` users, `devices` of each. */
function filled(random, { users: owners, devices, bytes, ascii }) {
	return Array.from({ length: owners * devices }, (_, number) => {
		const user = users[Math.floor(number / devices) % users.length];
		const session = makeSession(random, user.id);
		return {
			token: session.token,
			userId: user.id,
			session,
			json: makeRecord(session, user, { bytes, ascii }),
			ttl: LIFE_S,
		};
	});
}

function tokensOf(records) {
	return records.map((record) => record.token);
}

function ownersOf(records) {
	return [...new Set(records.map((record) => record.userId))];
}

/** The tokens in another order than that in which they were written. */
function readsOf(random, _, workload) {
	const records = filled(random, workload);
	return { records, inputs: tokensOf(shuffled(records, random)) };
}

/** The network that sessions move to by updates. */
const MOVED = "198.51.";
let changes = 0;

/** A change as a moving phone makes it; each is another, so that no write can be left out. */
function nextChange() {
	changes++;
	return { ipAddress: `${MOVED}${(changes >> 8) & 255}.${changes & 255}`, updatedAt: new Date() };
}
