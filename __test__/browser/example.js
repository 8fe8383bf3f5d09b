// The example for all tests of a file: its servers, started before them and stopped after, and people who look at it.

import { after, before } from "node:test";
import { prepare } from "../../examples/nextjs/cluster/prepare.js";
import { Servers } from "../../examples/nextjs/cluster/servers.js";
import { openBrowser, Person } from "./people.js";

class Example {
	/** @type {Servers} */
	servers;
	/** @type {import("playwright-core").Browser} */
	browser;
	#closeBrowser;
	#seats = 0;

	async open() {
		prepare((line) => console.log(line));
		this.servers = await Servers.start();
		({ browser: this.browser, close: this.#closeBrowser } = await openBrowser());
	}

	async close() {
		await this.#closeBrowser?.();
		await this.servers?.stop();
	}

	/**
	 * Somebody at a browser until the test ends.
	 * @param {import("node:test").TestContext} t
	 * @param {Parameters<typeof Person.sitDown>[1]} [options]
	 */
	async person(t, options) {
		const person = await Person.sitDown(this.browser, { address: `203.0.113.${++this.#seats}`, ...options });
		t.after(() => person.leave());
		return person;
	}

	/** As `person`, signed up on the first server. */
	async signedIn(t, options) {
		const person = await this.person(t, options);
		await person.signUp(this.servers.instances[0].url);
		return person;
	}
}

export function examplePerFile() {
	const example = new Example();
	before(() => example.open());
	after(() => example.close());
	return example;
}
