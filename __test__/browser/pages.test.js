// The example's pages: by keyboard, for screen readers, in light and dark, wide and on a phone; and behind nginx as the guide sets it up.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort, siteFor } from "../../examples/nextjs/cluster/servers.js";
import { rounds } from "../support/counts.js";
import { startNginx } from "../support/nginx.js";
import { until } from "../support/wait.js";
import { examplePerFile } from "./example.js";
import { examine, LOOKS } from "./looks.js";
import { openBrowser, Person } from "./people.js";

/** nginx' configuration as the guide prints it. */
const GUIDE = fileURLToPath(new URL("guide.nginx.conf", import.meta.url));

const example = examplePerFile();

test("by keyboard alone a user signs up, finds the devices and signs out", async (t) => {
	const ada = await example.person(t);
	const { page } = ada;
	const { keyboard } = page;
	const press = async (...keys) => {
		for (const key of keys) await keyboard.press(key);
	};
	const focused = () => page.locator(":focus").evaluate((element) => element.textContent || element.name);

	await page.goto(`${example.servers.url}/sign-up`);
	await press("Tab");
	assert.equal(await focused(), "Skip to the content");
	await press("Tab");
	await keyboard.type("Ada");
	await press("Tab");
	await keyboard.type(ada.email);
	await press("Tab");
	await keyboard.type("correct horse battery staple");
	await press("Enter");
	await page.waitForURL("**/dashboard");

	const tabTo = async (text) => {
		for (let tabs = 0; tabs < 20; tabs++) {
			await press("Tab");
			if ((await focused()) === text) return;
		}
		assert.fail(`"${text}" is not reached`);
	};
	await tabTo("Devices");
	await press("Enter");
	await page.getByTestId("device").waitFor();
	assert.equal(await page.locator("[aria-current=page]").textContent(), "Devices");
	await tabTo("Sign out");
	await press("Enter");
	await page.waitForURL("**/sign-in");
});

describe("a form shows the error", () => {
	test("of a wrong password", async (t) => {
		const ada = await example.person(t);
		await ada.trySignIn(example.servers.url);
		await ada.page.getByRole("alert").getByText("Invalid email or password").waitFor();
	});

	test("of too many attempts", async (t) => {
		const ada = await example.person(t);
		const statuses = [];
		for (let attempt = 0; attempt < 4; attempt++) {
			const answer = ada.page.waitForResponse("**/api/auth/sign-in/email");
			// On each server in turn: they count together.
			await ada.trySignIn(example.servers.instances[attempt % 3].url);
			statuses.push((await answer).status());
		}
		assert.deepEqual(statuses, [401, 401, 401, 429]);
		await ada.page.getByRole("alert").getByText("Too many attempts").waitFor();
	});

	test("a sign-in leads to a page of this site only", async (t) => {
		const ada = await example.signedIn(t);
		const [{ url }] = example.servers.instances;
		await ada.page.goto(`${url}/sign-in?next=${encodeURIComponent("//example.com/")}`);
		await ada.fillIn("Sign in");
		await ada.page.waitForURL(`${url}/dashboard`);
	});
});

for (const [look, options] of LOOKS.slice(0, rounds(2, 4))) {
	test(`${look}: nothing is cut off, and axe finds nothing`, async (t) => {
		const { url } = example.servers;
		const ada = await example.signedIn(t, { name: "Ada Lovelace", email: `ada-${look}@example.com`, ...options });
		const check = (name) => examine(ada.page, `${name}-${look}`);
		const phone = { email: ada.email, userAgent: SAFARI };
		for (const other of [await example.person(t, phone), await example.person(t, { email: ada.email })]) {
			await other.signIn(example.servers.instances[1].url);
		}
		await ada.visit(url);
		await ada.page.getByRole("button", { name: "Ask 100 times" }).click();
		await ada.page.getByRole("table").waitFor();
		await check("dashboard");
		await ada.page.goto(`${url}/devices`);
		await check("devices");
		await ada.page.goto(`${url}/sign-up`);
		await check("sign-up");
		await ada.page.goto(`${url}/sign-in`);
		await check("sign-in");
		await ada.page.getByLabel("E-mail").fill(ada.email);
		await ada.page.getByLabel("Password").fill("a wrong one");
		await ada.page.getByRole("button", { name: "Sign in" }).click();
		await ada.page.getByRole("alert").getByText("Invalid").waitFor();
		await check("sign-in-wrong");
	});
}

const SAFARI =
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";

test("the example works behind nginx as the guide configures it, under its own host name", async (t) => {
	const { instances } = example.servers;
	const port = await freePort();
	const nginx = await startNginx(siteFor(port, instances, GUIDE));
	t.after(() => nginx.stop());
	// As if port 80 of your-domain.com were here.
	const { browser, close } = await openBrowser([`--host-resolver-rules=MAP your-domain.com:80 127.0.0.1:${port}`]);
	t.after(close);

	const ada = await Person.sitDown(browser);
	await ada.signUp("http://your-domain.com");
	const answered = new Set();
	for (let reload = 0; reload < rounds(10, 100); reload++) answered.add(await ada.visit("http://your-domain.com"));
	assert.equal(answered.size, 3);
	await ada.page.goto("http://your-domain.com/devices");
	assert.match(await ada.page.getByTestId("device").textContent(), /127\.0\.0\.1/);
	await ada.page.getByRole("button", { name: "Sign out" }).click();
	await ada.page.waitForURL("**/sign-in");
	assert.deepEqual(ada.failures, []);
});

test("behind an nginx that drops the port, actions are refused, as docs/troubleshooting.md says", async (t) => {
	const { instances } = example.servers;
	const port = await freePort();
	const nginx = await startNginx(siteFor(port, instances, GUIDE));
	t.after(() => nginx.stop());
	const ada = await example.person(t);
	await ada.signUp(`http://localhost:${port}`);
	await ada.page.getByRole("button", { name: "Sign out" }).click();
	await until("a refused action", () => ada.failures.length > 0);
	await until("a word in a log", () => instances.some(({ log }) => log.includes("does not match `origin` header")));
	assert.ok(await ada.cookie());
});
