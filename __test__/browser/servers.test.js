// The example in a real browser: three servers of it behind nginx, with PostgreSQL and Redis.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { getMigrations } from "better-auth/db/migration";
import pg from "pg";
import { rounds } from "../support/counts.js";
import { until } from "../support/wait.js";
import { examplePerFile } from "./example.js";
import { examine } from "./looks.js";

const example = examplePerFile();
async function healthOf(instance) {
	const response = await fetch(`${instance.url}/api/health`);
	return response.json();
}

describe("several servers of the example", () => {
	test("a user who signs in on one is signed in on all", async (t) => {
		const ada = await example.signedIn(t);
		for (const { name, url } of example.servers.instances) assert.equal(await ada.visit(url), name);

		// As the guide looks at it.
		const { value } = await ada.cookie();
		const [token] = decodeURIComponent(value).split(".");
		const { redis } = example.servers;
		assert.ok((await redis.cli("KEYS", "session:*")).includes(`session:${token}`));
		assert.equal(JSON.parse(await redis.cli("GET", `session:${token}`)).user.email, ada.email);
		const week = 7 * 24 * 3600;
		const ttl = await redis.cli("TTL", `session:${token}`);
		assert.ok(ttl > week - 600 && ttl <= week, `it lives for ${ttl} s`);
	});

	test("through nginx: reloads reach all servers, and no user is signed out", async (t) => {
		const ada = await example.signedIn(t);
		const answered = new Set([await ada.visit(example.servers.url)]);
		for (let reload = 0; reload < rounds(50, 500); reload++) {
			await ada.page.reload();
			answered.add(await ada.serverOf());
		}
		assert.deepEqual([...answered].sort(), ["server 1", "server 2", "server 3"]);
		assert.deepEqual(ada.failures, []);
	});

	test("more than 95 % of the checks are the gate's own, with nextCookies() on", async (t) => {
		const ada = await example.signedIn(t);
		for (const instance of example.servers.instances) {
			const { checks: before } = await healthOf(instance);
			for (let visit = 0; visit < 6; visit++) assert.equal(await ada.visit(instance.url), instance.name);
			const { checks: after } = await healthOf(instance);
			const [fast, total] = ["fast", "total"].map((which) => after[which] - before[which]);
			t.diagnostic(`${instance.name}: ${fast} of ${total}`);
			assert.ok(total > 20, `${total} checks`);
			assert.ok(fast / total > 0.95, `${fast} of ${total}`);
		}
	});

	test("PostgreSQL has the tables that Better Auth wants, and none for sessions", async (t) => {
		const pool = new pg.Pool({ connectionString: example.servers.postgres.url });
		t.after(() => pool.end());
		const secondaryStorage = { get: () => null, set: () => {}, delete: () => {} };
		const { toBeCreated, toBeAdded } = await getMigrations({ database: pool, secondaryStorage });
		assert.deepEqual([toBeCreated, toBeAdded], [[], []]);
		const { rows } = await pool.query("select tablename from pg_tables where schemaname = 'public' order by 1");
		assert.deepEqual(
			rows.map(({ tablename }) => tablename),
			["account", "user"],
		);
	});
});

describe("the example's page of devices", () => {
	test("a device that another one signs out is signed out at its next click, on every server", async (t) => {
		const laptop = await example.signedIn(t, { address: "198.51.100.1" });
		// A tab on each server, with its page loaded.
		const tabs = await Promise.all(example.servers.instances.map(() => laptop.context.newPage()));
		for (const [at, { name, url }] of example.servers.instances.entries())
			assert.equal(await laptop.visit(url, tabs[at]), name);

		const phone = await example.person(t, { email: laptop.email, address: "198.51.100.2" });
		await phone.signIn(example.servers.instances[1].url);
		await phone.page.getByRole("link", { name: "Devices" }).click();
		const devices = phone.page.getByTestId("device");
		await devices.nth(1).waitFor();
		const texts = await devices.allInnerTexts();
		assert.match(texts[0], /Chrome on Linux\s+This device\s+198\.51\.100\.2 · last used just now on server 2/);
		assert.match(texts[1], /Chrome on Linux\s+198\.51\.100\.1 · last used just now on server [123]/);
		await devices
			.nth(1)
			.getByRole("button", { name: /^Sign out Chrome on Linux/ })
			.click();
		await phone.page.getByRole("status").getByText("One device was signed out.").waitFor();
		assert.equal(await devices.count(), 1);

		for (const tab of tabs) {
			await tab.getByRole("link", { name: "Devices" }).click();
			await tab.waitForURL("**/sign-in?*");
		}
		assert.equal((await phone.visit(example.servers.url)) !== undefined, true, "the phone is still signed in");
	});

	test("all other devices are signed out at once", async (t) => {
		const ada = await example.signedIn(t);
		const others = [await example.person(t, { email: ada.email }), await example.person(t, { email: ada.email })];
		for (const [at, other] of others.entries()) await other.signIn(example.servers.instances[at].url);
		await ada.page.goto(`${example.servers.url}/devices`);
		await ada.page.getByRole("button", { name: "Sign out all other devices" }).click();
		await ada.page.getByRole("status").getByText("2 devices were signed out.").waitFor();
		for (const other of others) assert.equal(await other.visit(example.servers.url), undefined);
		assert.ok(await ada.visit(example.servers.url));
	});

	test("signing out takes the cookie away", async (t) => {
		const ada = await example.signedIn(t);
		await ada.page.getByRole("button", { name: "Sign out" }).click();
		await ada.page.waitForURL("**/sign-in");
		assert.equal(await ada.cookie(), undefined);
	});
});

describe("the example when a server fails", () => {
	test("a killed server goes unnoticed by users", async (t) => {
		const ada = await example.signedIn(t);
		await ada.visit(example.servers.url);
		// Requests that are under way all the time, and a person who clicks.
		const asked = ada.page
			.context()
			.newPage()
			.then(async (tab) => {
				await tab.goto(example.servers.url);
				return tab.evaluate(async () => {
					const statuses = [];
					for (let n = 0; n < 200; n++) statuses.push((await fetch("/api/me", { cache: "no-store" })).status);
					return statuses;
				});
			});
		const [, victim] = example.servers.instances;
		const answered = [];
		for (let reload = 0; reload < 20; reload++) {
			if (reload === 5) await victim.kill();
			await ada.page.reload();
			answered.push(await ada.serverOf());
		}
		assert.deepEqual(new Set(await asked), new Set([200]));
		assert.deepEqual(ada.failures, []);
		assert.deepEqual([...new Set(answered.slice(6))].sort(), ["server 1", "server 3"]);
		await victim.launch();
	});

	test("a restart of Redis keeps every user signed in", async (t) => {
		const ada = await example.signedIn(t);
		await example.servers.redis.restart();
		for (const { name, url } of example.servers.instances) assert.equal(await ada.visit(url), name);
	});

	test("Redis down: a page says so, no user is signed out, and the page recovers by itself", async (t) => {
		const ada = await example.signedIn(t);
		const newcomer = await example.person(t);
		await example.servers.redis.kill();
		t.after(() => example.servers.redis.pid ?? example.servers.redis.restart());

		// The near cache may answer for some seconds yet.
		const { page } = ada;
		const gone = page.getByRole("heading", { name: "One moment" });
		const status = await until("an answer that tells of it", async () => {
			const answer = await page.goto(`${example.servers.url}/dashboard`);
			return answer.status() !== 200 && answer.status();
		});
		assert.equal(status, 503);
		await gone.waitFor();
		assert.match(await page.locator("main").textContent(), /You have not been signed out/);
		assert.ok(await ada.cookie());
		await examine(page, "unavailable");

		await newcomer.trySignIn(example.servers.url);
		await newcomer.page.getByRole("alert").getByText("does not work at the moment").waitFor();

		await example.servers.redis.restart();
		await page.getByRole("heading", { name: "Hello, Ada" }).waitFor();
		assert.ok(await ada.serverOf());
	});

	test("Redis fails under an open page: the next click shows it, and the page recovers by itself", async (t) => {
		const ada = await example.signedIn(t);
		await ada.visit(example.servers.url);
		await example.servers.redis.kill();
		t.after(() => example.servers.redis.pid ?? example.servers.redis.restart());
		const { name, value } = await ada.cookie();
		for (const { url } of example.servers.instances) {
			await until("no answer from a near cache", async () => {
				const response = await fetch(`${url}/api/me`, { headers: { cookie: `${name}=${value}` } });
				return response.status === 503;
			});
		}
		await ada.page.getByRole("link", { name: "Devices" }).click();
		await ada.page.getByRole("heading", { name: "One moment" }).waitFor();
		await example.servers.redis.restart();
		await ada.page.getByTestId("device").waitFor();
	});
});

describe("the symptoms in docs/troubleshooting.md", () => {
	/** The last server with other settings until the test ends. */
	async function changed(t, env) {
		const instance = example.servers.instances.at(-1);
		await instance.kill();
		await instance.launch(env);
		t.after(async () => {
			await instance.kill();
			await instance.launch({ ...example.servers.env, COOKIE_DOMAIN: "" });
		});
		return instance;
	}

	test("another BETTER_AUTH_SECRET on one server: users are signed out there only", async (t) => {
		const ada = await example.signedIn(t);
		const odd = await changed(t, { BETTER_AUTH_SECRET: "another secret, of thirty-two characters or more" });
		assert.equal(await ada.visit(odd.url), undefined);
		assert.equal(await ada.visit(example.servers.instances[0].url), "server 1");
		const { checks } = await healthOf(odd);
		assert.deepEqual(checks.full, {}, "refused by the gate, because of the signature");

		// Through nginx: at every third click or so. And whoever signs in there is signed out on the others.
		await ada.trySignIn(odd.url);
		await ada.page.waitForURL(`${odd.url}/dashboard`);
		assert.equal(await ada.visit(example.servers.instances[0].url), undefined);
	});

	test("a wrong cookie domain: the sign-in succeeds, and the user is not signed in", async (t) => {
		const odd = await changed(t, { COOKIE_DOMAIN: "example.com" });
		const ada = await example.signedIn(t);
		await ada.context.clearCookies();
		const answer = ada.page.waitForResponse("**/api/auth/sign-in/email");
		await ada.trySignIn(odd.url);
		assert.equal((await answer).status(), 200);
		assert.match(await (await answer).headerValue("set-cookie"), /Domain=example\.com/);
		await ada.page.waitForURL("**/sign-in?next=%2Fdashboard");
		assert.equal(await ada.cookie(), undefined);
	});
});
