// The organization plugin keeps a field of its own in the session: the active organization. It is written by one request
// and must survive the writes of all others.

import assert from "node:assert/strict";
import { rounds } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { everyVersion } from "./support/every-version.js";

const everywhere = everyVersion(redisPerFile());

const DAY = 86_400_000;
const withOrganizations = { options: ({ plugins }) => ({ plugins: [plugins.organization()] }) };

/** Makes two organizations and leaves the first one active. */
async function found(device) {
	const [{ id: first }, { id: second }] = [
		await device.ok("/organization/create", { name: "First", slug: "first" }),
		await device.ok("/organization/create", { name: "Second", slug: "second", keepCurrentActiveOrganization: true }),
	];
	await device.ok("/organization/set-active", { organizationId: first });
	return [first, second];
}

async function activeIn(app, device) {
	const answered = (await device.whoAmI()).session.activeOrganizationId;
	const stored = JSON.parse(await app.storage.get(device.token)).session.activeOrganizationId;
	assert.equal(stored, answered);
	return answered;
}

/** Makes a session two days old, so that the next look refreshes it. */
async function grow(app, token) {
	const then = Date.now() - 2 * DAY;
	await app.sessions.updateSession(token, { updatedAt: new Date(then), expiresAt: new Date(then + 7 * DAY) });
}

everywhere(
	"a new organization is active at once (before 1.4.10 Better Auth does not store it)",
	async ({ app, version }) => {
		const device = await app.signUp();
		const { id } = await device.ok("/organization/create", { name: "First", slug: "first" });
		// better-auth#6987: updateSession changed the session in memory only.
		assert.equal(await activeIn(app, device), version.minor >= 4 ? id : undefined);
	},
	withOrganizations,
);

everywhere(
	"the active organization survives a refresh and a change of the user",
	async ({ app }) => {
		const [device, other] = [await app.signUp(), await app.signIn()];
		const [first, second] = await found(device);
		assert.equal(await activeIn(app, device), first);
		await device.ok("/organization/set-active", { organizationId: second });
		assert.equal(await activeIn(app, device), second);

		await grow(app, device.token);
		const { session } = await device.whoAmI();
		assert.ok(Date.parse(session.expiresAt) > Date.now() + 6 * DAY, "it was refreshed");
		assert.equal(await activeIn(app, device), second);

		await other.ok("/update-user", { name: "Ada Lovelace" });
		assert.equal(await activeIn(app, device), second);
		assert.equal((await device.whoAmI()).user.name, "Ada Lovelace");
		assert.ok(!(await other.whoAmI()).session.activeOrganizationId, "it is active on one device only");
	},
	withOrganizations,
);

everywhere(
	"an organization that was active before can be made active again, and none at all",
	async ({ app }) => {
		const device = await app.signUp();
		const [first, second] = await found(device);
		for (const organizationId of [second, first, null, first, null, second]) {
			await device.ok("/organization/set-active", { organizationId });
			assert.equal(await activeIn(app, device), organizationId);
		}
	},
	withOrganizations,
);

everywhere(
	"set-active, a refresh and update-user at once lose none of the three",
	async ({ app }) => {
		const [device, other] = [await app.signUp(), await app.signIn()];
		const organizations = await found(device);
		for (let round = 0; round < rounds(10, 200); round++) {
			const organizationId = organizations[round % 2];
			await grow(app, device.token);
			await Promise.all([
				device.ok("/organization/set-active", { organizationId }),
				device.copy().whoAmI(),
				other.ok("/update-user", { name: `Ada ${round}` }),
			]);
			const { session, user } = JSON.parse(await app.storage.get(device.token));
			assert.equal(session.activeOrganizationId, organizationId, `round ${round}`);
			assert.ok(Date.parse(session.expiresAt) > Date.now() + 6 * DAY, `round ${round}`);
			assert.equal(user.name, `Ada ${round}`);
		}
	},
	{
		...withOrganizations,
		// It writes at the end of a request what it read at the beginning, so a change back looks like an old reading.
		lacks: ({ release }) => (release.startsWith("1.3") ? "writes a session later than it reads it" : undefined),
	},
);
