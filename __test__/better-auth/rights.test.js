// What a session says of its user is what the database says, and a session ends when it was told to: whatever order statements and
// writes arrive in, and whatever the clocks of the servers say.

import assert from "node:assert/strict";
import { sessionGate } from "better-auth-redis-store/gate";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";
import { PASSWORD } from "./support/app.js";
import { everyVersion } from "./support/every-version.js";

const everywhere = everyVersion(redisPerFile());

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const withRoles = { options: ({ plugins }) => ({ plugins: [plugins.admin()] }) };

/** An administrator who has signed up on an application with a gate. */
async function administrator(app) {
	app.gate = sessionGate(app.auth, app.storage);
	const device = await app.signUp();
	const { internalAdapter } = await app.auth.$context;
	// The stamp is taken before the statement reaches the database, as Better Auth's adapters do.
	const setRole = (role) => internalAdapter.updateUser(app.userId(), { role, updatedAt: new Date() });
	await setRole("admin");
	assert.equal((await device.whoAmI()).user.role, "admin");
	await device.ok("/admin/list-users?limit=1");
	return { device, setRole };
}

/** The database says "user", and so does everything else, once nothing is under way. */
async function isUserEverywhere(app, ...devices) {
	await until("the first looks", () => app.storage.metrics().userLooks.done > 0);
	assert.equal(app.db.user[0].role, "user");
	for (const device of devices) {
		const role = async () => JSON.parse(await app.storage.get(device.token)).user.role;
		await until("the role in the store", async () => (await role()) === "user");
		assert.equal((await device.whoAmI()).user.role, "user");
		assert.equal((await app.gate(device.cookieHeader)).user.role, "user");
		assert.equal((await device.send("/admin/list-users?limit=1")).status, 403);
		assert.deepEqual(JSON.parse(await app.storage.get(device.token)).user, JSON.parse(JSON.stringify(app.db.user[0])));
	}
}

/** Holds up a statement of this kind, the first that comes after `skipped` others, until `release` is called. */
function holdUp(app, moment, statement, matches, skipped = 0) {
	const { promise: arrived, resolve: arrive } = withResolvers();
	const { promise: released, resolve: release } = withResolvers();
	app.statements[moment] = async (kind, args) => {
		if (kind !== statement || !matches(args) || skipped-- > 0) return;
		app.statements[moment] = undefined;
		arrive();
		await released;
	};
	return { arrived, release };
}

function withResolvers() {
	let resolve;
	const promise = new Promise((it) => {
		resolve = it;
	});
	return { promise, resolve };
}

everywhere(
	"a role is removed: the statement is late, and the user is renamed meanwhile",
	async ({ app }) => {
		const { device, setRole } = await administrator(app);
		const removal = holdUp(app, "before", "update", ({ update }) => update.role === "user");
		const removed = setRole("user");
		await removal.arrived;
		await device.ok("/update-user", { name: "Ada Lovelace" });
		removal.release();
		await removed;
		await isUserEverywhere(app, device);
		assert.equal((await device.whoAmI()).user.name, "Ada Lovelace");
	},
	withRoles,
);

everywhere(
	"a role is removed between another writer's statement and its write: no merge can tell, the row can",
	async ({ app }) => {
		const { device, setRole } = await administrator(app);
		const other = await app.signIn();
		const rename = holdUp(app, "after", "update", ({ update }) => update.name !== undefined);
		const renamed = device.ok("/update-user", { name: "Ada Lovelace" });
		await rename.arrived;
		await setRole("user");
		rename.release();
		await renamed;
		await isUserEverywhere(app, device, other);
		assert.equal((await device.whoAmI()).user.name, "Ada Lovelace");
	},
	withRoles,
);

everywhere(
	"a role is removed by a server whose clock is 2 s behind that of the last writer",
	async ({ app }) => {
		const { device, setRole } = await administrator(app);
		await ahead(2000, () => device.ok("/update-user", { name: "Ada Lovelace" }));
		await setRole("user");
		await isUserEverywhere(app, device);
	},
	withRoles,
);

everywhere(
	"a role is removed while its user signs in: between the reading of the user and the writing of the session",
	async ({ app }) => {
		const { device, setRole } = await administrator(app);
		// By id, the admin plugin reads the user first, to see whether she is banned. Then Better Auth reads what it writes into the session.
		const reading = holdUp(app, "after", "findOne", ({ where }) => where[0].field === "id", 1);
		const signedIn = app.signIn();
		await reading.arrived;
		await setRole("user");
		reading.release();
		await isUserEverywhere(app, device, await signedIn);
	},
	{
		...withRoles,
		lacks: ({ minor }) => (minor < 4 ? "hands the session the user whom it found by the email" : undefined),
	},
);

everywhere(
	"a user is written whose updatedAt went back, as in a backup that was restored",
	async ({ app }) => {
		const { device } = await administrator(app);
		const { internalAdapter } = await app.auth.$context;
		const updatedAt = new Date(Date.now() - DAY);
		await internalAdapter.updateUser(app.userId(), { role: "user", updatedAt });
		await isUserEverywhere(app, device);
	},
	withRoles,
);

everywhere(
	"a row that was changed by SQL is written into the sessions by refreshUser, and a row that is gone ends them",
	async ({ app, keysAre }) => {
		const { device } = await administrator(app);
		const other = await app.signIn();
		const userId = app.userId();
		await until("looks", () => app.storage.metrics().userLooks.done > 0);
		app.db.user[0].role = "user";
		assert.equal(await app.storage.refreshUser(userId), 2);
		await isUserEverywhere(app, device, other);
		assert.equal(await app.storage.refreshUser("nobody"), 0);

		app.db.user.splice(0);
		assert.equal(await app.storage.refreshUser(userId), 2);
		for (const each of [device, other]) assert.equal(await each.whoAmI(), null);
		await keysAre([`revoked-sessions-before-${userId}`, "revoked-sessions-before-nobody"]);
	},
	withRoles,
);

for (const [what, body] of [
	["ordinary", {}],
	["don't remember me", { rememberMe: false }],
]) {
	everywhere(`a session's life is shortened (${what})`, async ({ app, server }) => {
		await app.signUp();
		const device = app.device();
		await device.ok("/sign-in/email", { email: "ada@example.com", password: PASSWORD, ...body });
		const { internalAdapter } = await app.auth.$context;
		const soon = new Date(Date.now() + 5 * 60_000);
		await shorten(app, internalAdapter, device.token, soon);
		assert.equal(JSON.parse(await app.storage.get(device.token)).session.expiresAt, soon.toISOString());
		if (server) {
			const left = await server.cli("PTTL", `session:${device.token}`);
			assert.ok(Math.abs(left - 5 * 60_000) < 5000, `PTTL ${left}`);
		}
		const listed = (await device.ok("/list-sessions")).map(({ token }) => token);
		assert.ok(listed.includes(device.token), "it is listed as long as it lives");
	});
}

everywhere(
	"a hook that caps every refresh is respected",
	async ({ app }) => {
		const device = await app.signUp();
		const then = Date.now() - 2 * DAY;
		await app.sessions.updateSession(device.token, { updatedAt: new Date(then), expiresAt: new Date(then + 7 * DAY) });
		await device.whoAmI();
		const { expiresAt } = JSON.parse(await app.storage.get(device.token)).session;
		assert.ok(Date.parse(expiresAt) < Date.now() + 2 * HOUR, expiresAt);
	},
	{
		options: () => ({
			databaseHooks: {
				session: {
					update: { before: async (data) => ({ data: { ...data, expiresAt: new Date(Date.now() + HOUR) } }) },
				},
			},
		}),
		lacks: ({ minor }) => (minor < 4 ? "does not write what updateSession changed" : undefined),
	},
);

/** Through Better Auth; 1.3 changes a session in memory only. */
async function shorten(app, internalAdapter, token, expiresAt) {
	if (app.version.minor >= 4) return internalAdapter.updateSession(token, { expiresAt });
	return app.sessions.updateSession(token, { expiresAt });
}

/** Runs something on a machine whose clock is ahead. */
async function ahead(ms, run) {
	const RealDate = Date;
	globalThis.Date = class extends RealDate {
		constructor(...args) {
			super(...(args.length > 0 ? args : [RealDate.now() + ms]));
		}

		static now() {
			return RealDate.now() + ms;
		}
	};
	try {
		return await run();
	} finally {
		globalThis.Date = RealDate;
	}
}
