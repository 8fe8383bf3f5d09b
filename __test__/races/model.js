// Random operations from several processes; when all is quiet, what lies in Redis must agree with what each caller was told.

import assert from "node:assert/strict";
import { openApp } from "./app.js";
import { runWorkers, sum } from "./race.js";

/** Who signs in through Better Auth, and who through RedisSessionStore. */
const USERS = ["ann", "bob", "cid"];
const GUIDE_USERS = ["dan"];
const ALL_USERS = [...USERS, ...GUIDE_USERS];
const WORKERS = 3;

/**
 * Lets three processes loose on a place, and looks at what is left.
 * @param {import("node:test").TestContext} t
 * @param {import("./app.js").Place} place
 * @param {number} operations of each
 */
export async function holdsInvariants(t, place, operations) {
	const input = { place, users: USERS, guideUsers: GUIDE_USERS, operations };
	const log = sum(await runWorkers("model.worker.js", WORKERS, input));
	t.diagnostic(JSON.stringify(log.counts));
	assert.deepEqual(log.wrong, []);

	const app = await openApp(place);
	t.after(() => app.close());

	/** The records that live, by user. */
	const live = await liveSessions(app);
	const tokens = new Set([...live.values()].flatMap((records) => [...records.keys()]));

	for (const user of ALL_USERS) {
		const records = live.get(user);
		const sorted = [...records.keys()].sort();
		const listed = (await app.sessions.getUserSessions(user)).map(({ token }) => token);
		assert.deepEqual(listed.sort(), sorted, "getUserSessions lists what lives");
		const byBetterAuth = (await app.internal.listSessions(user)).map(({ token }) => token);
		if (USERS.includes(user)) assert.deepEqual(byBetterAuth.sort(), sorted, "Better Auth lists what lives");

		const index = await app.index(user);
		const indexLife = await app.redis.pttl(`user-sessions:${user}`);
		for (const [token, { life }] of records) {
			assert.ok(index.has(token), "a live session is in its owner's index");
			assert.ok(index.get(token) >= Date.now() + life - 2000, "its score tells its expiry");
			assert.ok(indexLife >= life, "its owner's index outlives it");
		}
	}

	const ended = log.ended.filter(({ acknowledged }) => acknowledged);
	assert.equal(ended.filter(({ token }) => tokens.has(token)).length, 0, "a session that was ended is dead");
	assert.equal(
		log.created.filter((session) => tokens.has(session.token) && log.endedAll.some((end) => mustEnd(end, session)))
			.length,
		0,
		"a session that was there when all were ended is dead",
	);

	assert.equal(log.overtaken.filter(({ token }) => tokens.has(token)).length, 0, "a session that was refused is dead");
	const unprovoked = log.overtaken.filter((session) => !log.endedAll.some((end) => mayEnd(end, session)));
	if (!place.cluster) assert.deepEqual(log.overtaken, [], "on one server a creation is one step");
	assert.deepEqual(unprovoked, [], "only who ends all of a user's sessions ends one that is being created");

	const asked = new Set(log.ended.map(({ token }) => token));
	const spared = log.created.filter(
		(session) => !asked.has(session.token) && !log.endedAll.some((end) => mayEnd(end, session)),
	);
	assert.equal(spared.filter(({ token }) => !tokens.has(token)).length, 0, "a session that nobody ended lives");
	t.diagnostic(
		`${log.created.length} sessions; ${ended.length} ends of one and ${log.endedAll.length} of all, ` +
			`${log.overtaken.length} while it was being created; ` +
			`${tokens.size} live, ${spared.length} of them must`,
	);
	assert.ok(spared.length > 0 && ended.length > 0);

	for (const key of await app.keys("*")) {
		assert.ok((await app.redis.pttl(key)) > 0, `a key lives for ever: ${key.split(":")[0]}`);
	}
}

/** It was created before the end of all began. */
function mustEnd(end, session) {
	return end.acknowledged && concerns(end, session) && session.done < end.began;
}

/** It was created, or being created, before the end of all was over. */
function mayEnd(end, session) {
	return concerns(end, session) && session.began < end.done;
}

function concerns({ user, except }, session) {
	return user === session.user && except !== session.token;
}

/** @returns {Promise<Map<string, Map<string, { life: number }>>>} by user and token; none that is older than its user's end of all */
async function liveSessions(app) {
	const live = new Map(ALL_USERS.map((user) => [user, new Map()]));
	const marker = async (user) => Number(await app.redis.get(`session:revoked-sessions-before-${user}`));
	const before = new Map(await Promise.all(ALL_USERS.map(async (user) => [user, await marker(user)])));
	const tokens = (await app.keys("session:*")).map((key) => key.slice("session:".length));
	for (const [n, found] of (await app.lying(tokens)).entries()) {
		if (typeof found !== "object") continue;
		const { userId, createdAt } = found.session ?? found;
		if (Date.parse(createdAt) < before.get(userId)) continue;
		live.get(userId).set(tokens[n], { life: await app.redis.pttl(`session:${tokens[n]}`) });
	}
	return live;
}
