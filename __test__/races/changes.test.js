// What is changed in a session at the same time from several sides is all there afterwards, and nothing old comes back.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { openApp } from "./app.js";
import { runWorkers, sum } from "./race.js";

const NOTHING_LOST = { lostOrganizations: 0, lostExpiries: 0, lostProfiles: 0, gone: 0, unlisted: 0, unexpected: [] };

seeded("changes"); // sets the seed, so that all workers share it
const redis = redisPerFile();

describe("concurrent changes of a session, in one process and in two", () => {
	for (const [name, race] of [
		["set-active against refresh", { refreshes: 1, profiles: 0 }],
		["set-active against update-user", { refreshes: 0, profiles: 1 }],
		["set-active against refresh and update-user", { refreshes: 1, profiles: 1 }],
		// A page that asks for its session from many places is refreshed by each of them.
		["set-active against eight refreshes and update-user", { refreshes: 8, profiles: 1 }],
	]) {
		test(name, async (t) => {
			const input = { place: { url: redis.url }, name, ...race, rounds: rounds(300, 5000) };
			const verdict = sum(await runWorkers("changes.worker.js", 2, input));
			const { rounds: raced, organizationFirst, ...lost } = verdict;
			t.diagnostic(`${raced} rounds; in ${organizationFirst} of them set-active began first`);
			assert.deepEqual(lost, NOTHING_LOST);
			assert.ok(raced >= input.rounds && organizationFirst > 0 && organizationFirst < raced);
		});
	}
});

describe("changes of a session, step by step", () => {
	/** @type {import("./app.js").App} */
	let app;
	before(async () => {
		app = await openApp({ url: redis.url });
		app.seedUsers(["user"], ["org-a", "org-b"]);
	});
	after(() => app.close());

	/** The organization that a session is in. */
	async function organizationOf(token) {
		return (await app.look(token)).session.activeOrganizationId;
	}

	test("a session's field can be set back to what it was", async () => {
		const token = await app.signIn("user");
		for (const organization of ["org-a", "org-b", "org-a", "org-b"]) {
			await app.setOrganization(token, organization);
			assert.equal(await organizationOf(token), organization);
		}
	});

	test("a user's field can be set back to what it was", async () => {
		const token = await app.signIn("user");
		for (const role of ["admin", "guest", "admin", "guest"]) {
			await app.updateProfile(token, { role });
			assert.equal((await app.look(token)).user.role, role);
		}
	});

	for (const others of [0, 1, 2, 3, 8]) {
		test(`a slow refresh loses no organization that was set meanwhile, with ${others} refreshes in between`, async () => {
			const token = await app.signIn("user");
			const slow = await read(token);
			await app.setOrganization(token, "org-a");
			for (let n = 0; n < others; n++) await app.refresh(token);
			await writeRefreshed(slow);
			assert.equal(await organizationOf(token), "org-a");
		});
	}

	/** The two halves of a refresh, as internalAdapter.updateSession does them. */
	async function read(token) {
		return JSON.parse(await app.storage.get(token));
	}
	function writeRefreshed({ session, user }) {
		const now = Date.now();
		const expiresAt = new Date(now + 7 * 24 * 3600 * 1000);
		const refreshed = { session: { ...session, expiresAt, updatedAt: new Date(now) }, user };
		return app.storage.set(session.token, JSON.stringify(refreshed), 7 * 24 * 3600);
	}
});
