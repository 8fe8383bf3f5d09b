// examples/nextjs/run: one command starts everything, and a signal ends everything.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { app, prepare } from "../../examples/nextjs/cluster/prepare.js";
import { rounds } from "../support/counts.js";
import { endWithProcess } from "../support/lifetime.js";
import { until } from "../support/wait.js";

for (const signal of rounds(["SIGTERM"], ["SIGTERM", "SIGINT"])) {
	test(`examples/nextjs/run starts everything, and ${signal} ends everything`, { timeout: 120_000 }, async () => {
		prepare((line) => console.log(line));
		const child = spawn(`${app}run`, { stdio: ["ignore", "pipe", "inherit"] });
		const release = endWithProcess(() => child.kill("SIGTERM"));
		let said = "";
		child.stdout.on("data", (chunk) => {
			said += chunk;
		});
		const exit = once(child, "exit");
		await Promise.race([exit, until("all addresses", () => said.includes("Ctrl-C"), 60_000)]);

		const urls = said.match(/http:\/\/localhost:\d+/g);
		const names = new Set();
		for (const url of urls) {
			const response = await fetch(`${url}/dashboard`);
			assert.equal(new URL(response.url).pathname, "/sign-in");
			names.add((await (await fetch(`${url}/api/health`)).json()).server);
		}
		assert.equal(urls.length, 4);
		assert.equal(names.size, 3);

		child.kill(signal);
		assert.deepEqual(await exit, [null, signal]);
		release();
		for (const url of urls)
			await until(`nobody at ${url}`, () =>
				fetch(url).then(
					() => false,
					() => true,
				),
			);
	});
}
