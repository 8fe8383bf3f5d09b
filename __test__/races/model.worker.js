// Does random operations on a few users, and keeps a log of those that must show in the end: see model.test.js.

import { randomUUID } from "node:crypto";
import { seeded } from "../support/counts.js";
import { index, ready, report } from "../support/worker.js";
import { foundEnded, openApp } from "./app.js";
import { now } from "./race.js";

const ORGANIZATIONS = ["org-a", "org-b"];
/** Operations under way at a time. */
const LANES = 4;
/** How many tokens a worker remembers to do something with, ended ones among them. */
const REMEMBERED = 24;
const WEEK_MS = 7 * 24 * 3_600_000;

const { place, users, guideUsers, operations } = await ready();
const random = seeded(`model, worker ${index}`);
const app = await openApp(place);
app.seedUsers(users, ORGANIZATIONS);

/** Times are from before the call to after its answer. */
const log = {
	/** @type {{ user: string, token: string, began: number, done: number }[]} */
	created: [],
	/** Sessions that were ended while they were being created. @type {{ user: string, token: string, began: number, done: number }[]} */
	overtaken: [],
	/** Tokens whose end was asked for, and whether it was acknowledged. @type {{ token: string, acknowledged: boolean }[]} */
	ended: [],
	/** @type {{ user: string, except?: string, began: number, done: number, acknowledged: boolean }[]} */
	endedAll: [],
	/** @type {Record<string, number>} */
	counts: {},
	/** @type {string[]} */
	wrong: [],
};
/** @type {{ user: string, token: string }[]} */
const known = [];
/** Tokens whose end was acknowledged here: from then on nobody may see them. */
const gone = new Set();

const week = () => new Date(Date.now() + WEEK_MS - random.below(1000));

/** What may be done to a session. */
const CHANGES = {
	look: async ({ token }) => {
		const wasGone = gone.has(token);
		if ((await app.look(token)) !== null && wasGone) log.wrong.push("an ended session was seen");
	},
	get: async ({ token }) => {
		const wasGone = gone.has(token);
		if ((await app.storage.get(token)) !== null && wasGone) log.wrong.push("an ended session was read");
	},
	refresh: ({ token }) => app.refresh(token),
	setOrganization: ({ token }) => app.setOrganization(token, random.pick(ORGANIZATIONS)),
	updateProfile: ({ token }) => app.updateProfile(token, { name: `name ${random.next()}` }),
	updateSession: ({ token }) => app.sessions.updateSession(token, { expiresAt: week(), note: random.next() }),
	/** A write-back that takes its time. */
	setLate: async ({ token }) => {
		const json = await app.storage.get(token);
		if (json === null) return;
		for (let turns = random.below(40); turns > 0; turns--) await new Promise(setImmediate);
		await app.storage.set(token, json, 3600);
	},
};
const ENDS = {
	signOut: ({ token }) => app.signOut(token),
	deleteSession: ({ token }) => app.sessions.deleteSession(token),
	getAndDelete: ({ token }) => app.storage.getAndDelete(token),
	setWithoutLife: async ({ token }) => app.storage.set(token, (await app.storage.get(token)) ?? "", 0),
};
/** Those that end in But spare the session from which they are done. */
const ENDS_ALL = {
	revokeAll: ({ token }) => app.revokeAll(token),
	revokeAllBut: ({ token }) => app.revokeOthers(token),
	deleteUserSessions: ({ user }) => app.sessions.deleteUserSessions(user),
	deleteUserSessionsBut: ({ user, token }) => app.sessions.deleteUserSessions(user, { except: token }),
};
/** What may be done to a session of the guide's form as well: Better Auth cannot read those. */
const ON_GUIDES = new Set([
	...["get", "updateSession", "setLate"],
	...["deleteSession", "getAndDelete", "setWithoutLife", "deleteUserSessions", "deleteUserSessionsBut"],
]);
const CREATIONS = {
	signIn: async () => {
		const user = random.pick(users);
		return { user, token: await app.signIn(user) };
	},
	createSession: async () => {
		const session = { token: randomUUID(), userId: random.pick(guideUsers), createdAt: new Date(), expiresAt: week() };
		const { userId: user, token } = session;
		try {
			await app.sessions.createSession(session);
		} catch (error) {
			if (error.code !== "REVOKED") throw error;
			return { user, token, isOver: true };
		}
		return { user, token };
	},
};
const LISTS = {
	getUserSessions: async (user) => (await app.sessions.getUserSessions(user)).map(({ token }) => token),
	internalList: async (user) => (await app.internal.listSessions(user)).map(({ token }) => token),
	view: async (user) =>
		JSON.parse((await app.storage.get(`active-sessions-${user}`)) ?? "[]").map(({ token }) => token),
};
const MENDS = {
	cleanup: () => app.sessions.cleanupExpiredSessions(),
	prune: (user) => app.storage.delete(`active-sessions-${user}`),
};

/** How likely each kind is, out of the sum. */
const KINDS = [
	[24, creates],
	[40, changes],
	[16, ends],
	[1, endsAll],
	[14, lists],
	[5, mends],
];

let left = operations;
await Promise.all(Array.from({ length: LANES }, lane));
log.wrong.push(...app.logged.filter((line) => !line.startsWith("Active sessions list not found")));
await report(log);

async function lane() {
	while (left-- > 0) {
		let at = random.below(KINDS.reduce((total, [weight]) => total + weight, 0));
		const [, run] = KINDS.find(([weight]) => {
			at -= weight;
			return at < 0;
		});
		await run();
	}
}

async function creates() {
	const [name, create] = draw(CREATIONS);
	const began = now();
	const session = await attempt(name, create);
	if (session === undefined) throw new Error(`${name} found an ended session`);
	const { isOver, ...created } = session;
	const list = isOver ? log.overtaken : log.created;
	list.push({ ...created, began, done: now() });
	if (isOver) gone.add(session.token);
	remember(created);
}

async function changes() {
	if (known.length === 0) return;
	const session = random.pick(known);
	const [name, change] = draw(CHANGES, session);
	await attempt(name, () => change(session));
}

async function ends() {
	if (known.length === 0) return;
	const session = random.pick(known);
	const [name, end] = draw(ENDS, session);
	const entry = { token: session.token, acknowledged: false };
	log.ended.push(entry);
	if ((await attempt(name, () => end(session).then(() => true))) === undefined) return;
	entry.acknowledged = true;
	gone.add(session.token);
}

async function endsAll() {
	if (known.length === 0) return;
	const session = random.pick(known);
	const [name, end] = draw(ENDS_ALL, session);
	const entry = { user: session.user, began: now(), done: Number.POSITIVE_INFINITY, acknowledged: false };
	if (name.endsWith("But")) entry.except = session.token;
	log.endedAll.push(entry);
	entry.acknowledged = (await attempt(name, () => end(session).then(() => true))) ?? false;
	entry.done = now();
}

async function lists() {
	const [name, list] = draw(LISTS);
	const user = random.pick([...users, ...guideUsers]);
	const goneBefore = new Set(gone);
	const tokens = await attempt(name, () => list(user));
	if (tokens === undefined) return;
	if (!mayShowEnded(name) && tokens.some((token) => goneBefore.has(token))) {
		log.wrong.push(`an ended session was listed by ${name}`);
	}
	for (const token of tokens.slice(0, 3)) remember({ user, token });
}

/** The view is the index. On a cluster the entry of a writer that comes too late stands there until its record has been refused. */
function mayShowEnded(list) {
	return place.cluster !== undefined && list === "view";
}

async function mends() {
	const [name, mend] = draw(MENDS);
	await attempt(name, () => mend(random.pick([...users, ...guideUsers])));
}

/** One of the operations, or of those that may be done to a session. */
function draw(operations, session) {
	const names = Object.keys(operations);
	const isGuides = session !== undefined && guideUsers.includes(session.user);
	const name = random.pick(isGuides ? names.filter((name) => ON_GUIDES.has(name)) : names);
	return [name, operations[name]];
}

/** Runs an operation; undefined when it found its session ended. Any other failure ends this worker, and with it the test. */
async function attempt(name, operation) {
	log.counts[name] = (log.counts[name] ?? 0) + 1;
	try {
		return await operation();
	} catch (error) {
		if (!foundEnded(error)) throw error;
		return undefined;
	}
}

function remember(session) {
	known.push(session);
	if (known.length > REMEMBERED) known.splice(random.below(known.length), 1);
}
