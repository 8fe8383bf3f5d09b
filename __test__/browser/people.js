// People at their browsers: each has a context of his own (cookies, address), all of them one Chromium.

import { randomUUID } from "node:crypto";
import { chromium } from "playwright-core";
import { findChromium } from "../../scripts/programs.js";
import { endWithProcess } from "../support/lifetime.js";

const DEADLINE_MS = 15_000;
const PASSWORD = "correct horse battery staple";

/** @param {string[]} [args] for Chromium */
export async function openBrowser(args = []) {
	// Without its sandbox, which root cannot have; it shows pages of our own.
	const server = await chromium.launchServer({ executablePath: findChromium(), args: ["--no-sandbox", ...args] });
	const release = endWithProcess(() => server.process().kill("SIGKILL"));
	const browser = await chromium.connect(server.wsEndpoint());
	const close = async () => {
		await browser.close();
		await server.close();
		release();
	};
	return { browser, close };
}

/** Somebody with an account, at a browser. */
export class Person {
	name;
	email;
	/** @type {import("playwright-core").BrowserContext} */
	context;
	/** @type {import("playwright-core").Page} */
	page;
	/** Answers of 500 and above, but for those that a test expects and takes away. @type {string[]} */
	failures = [];

	/**
	 * @param {import("playwright-core").Browser} browser
	 * @param {{ name?: string, email?: string, address?: string } & import("playwright-core").BrowserContextOptions} [options] `address`: what a
	 * server that is asked directly takes for his address; through nginx it is ours
	 */
	static async sitDown(browser, { name = "Ada", email = `${randomUUID()}@example.com`, address, ...options } = {}) {
		const person = new Person();
		Object.assign(person, { name, email });
		const extraHTTPHeaders = address ? { "x-real-ip": address } : {};
		person.context = await browser.newContext({ reducedMotion: "reduce", ...options, extraHTTPHeaders });
		person.context.setDefaultTimeout(DEADLINE_MS);
		person.page = await person.context.newPage();
		person.context.on("response", (response) => {
			if (response.status() >= 500) person.failures.push(`${response.status()} ${response.url()}`);
		});
		return person;
	}

	/** @param {string} url of a server */
	async signUp(url) {
		await this.page.goto(`${url}/sign-up`);
		await this.page.getByLabel("Name").fill(this.name);
		await this.fillIn("Sign up");
		await this.page.waitForURL(`${url}/dashboard`);
	}

	/** Up to the button: what comes then is the caller's to see. @param {string} url of a server */
	async trySignIn(url) {
		await this.page.goto(`${url}/sign-in`);
		await this.fillIn("Sign in");
	}

	/** @param {string} url of a server */
	async signIn(url) {
		await this.trySignIn(url);
		await this.page.waitForURL(`${url}/dashboard`);
	}

	/** What the page asks for, and the button. */
	async fillIn(button) {
		await this.page.getByLabel("E-mail").fill(this.email);
		await this.page.getByLabel("Password").fill(PASSWORD);
		await this.page.getByRole("button", { name: button }).click();
	}

	/** Opens the dashboard of a server, and tells which server made it; undefined when it asks for a sign-in instead. */
	async visit(url, page = this.page) {
		await page.goto(`${url}/dashboard`);
		return this.serverOf(page);
	}

	async serverOf(page = this.page) {
		if (new URL(page.url()).pathname === "/sign-in") return undefined;
		if ((await page.getByTestId("email").textContent()) !== this.email) throw new Error("somebody else's dashboard");
		return page.getByTestId("server").textContent();
	}

	/** The cookie of the session, if there is one. */
	async cookie() {
		const cookies = await this.context.cookies();
		return cookies.find(({ name }) => name === "better-auth.session_token");
	}

	async leave() {
		await this.context.close();
	}
}
