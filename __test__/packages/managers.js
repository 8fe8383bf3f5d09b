// Each package manager installs the package with the one binary that its machine needs, and the consumer lists sessions.

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { rounds } from "../support/counts.js";
import { Consumer } from "./consumer.js";
import { NAME, OWN, PLATFORMS } from "./release.js";

/** What sessions.mjs prints, for `stores(redis)`. */
export const LISTED = "memory: listed 2, ended 2, left 0\nredis: listed 2, ended 2, left 0\n";

/** @param {import("../support/redis.js").RedisServer} redis */
export const stores = (redis) => ["memory://", redis.url];

/** What npm is told of a machine, by the ending of its package's name. */
const MACHINES = Object.fromEntries(
	PLATFORMS.map((platform) => {
		const [os, cpu, abi] = platform.split("-");
		const libc = { gnu: ["--libc=glibc"], musl: ["--libc=musl"] }[abi] ?? [];
		return [platform, [`--os=${os}`, `--cpu=${cpu}`, ...libc]];
	}),
);

/**
 * @param {import("./release.js").Release} release
 * @param {import("../support/redis.js").RedisServer} redis
 */
export function managers(release, redis) {
	test("npm, which runs no script", async (t) => {
		const consumer = Consumer.for(t, release);
		await consumer.npm("install", NAME, "--ignore-scripts");
		consumer.copy("sessions.mjs");
		assert.deepEqual(packagesIn(consumer.folder), [NAME, `${NAME}-${OWN}`]);
		assert.equal(await consumer.node("sessions.mjs", ...stores(redis)), LISTED);
	});

	test("npm, again from its lock file", async (t) => {
		const consumer = Consumer.for(t, release);
		await consumer.npm("install", NAME, "--package-lock-only");
		assert.deepEqual(packagesIn(consumer.folder), []);
		await consumer.npm("ci");
		consumer.copy("sessions.mjs");
		assert.equal(await consumer.node("sessions.mjs", ...stores(redis)), LISTED);
	});

	test("pnpm, nothing hoisted", async (t) => {
		const consumer = Consumer.for(t, release);
		consumer.write("pnpm-workspace.yaml", `${consumer.pnpmSettings.join("\n")}\n`);
		await consumer.pnpm("add", NAME);
		consumer.copy("sessions.mjs");
		assert.deepEqual(packagesIn(consumer.folder), [NAME]);
		assert.equal(await consumer.node("sessions.mjs", ...stores(redis)), LISTED);
	});

	test("pnpm, in a package of a workspace that another one uses", async (t) => {
		const consumer = Consumer.for(t, release);
		const settings = ["packages: [apps/*, packages/*]", ...consumer.pnpmSettings];
		consumer.write("pnpm-workspace.yaml", `${settings.join("\n")}\n`);
		consumer.write("packages/sessions/package.json", {
			name: "sessions",
			version: "1.0.0",
			exports: "./sessions.mjs",
			dependencies: { [NAME]: "*" },
		});
		consumer.copy("sessions.mjs", "packages/sessions/sessions.mjs");
		consumer.write("apps/web/package.json", {
			name: "web",
			version: "1.0.0",
			dependencies: { sessions: "workspace:*" },
		});
		consumer.write("apps/web/web.mjs", 'import "sessions";\n');
		await consumer.pnpm("install");
		assert.ok(!existsSync(join(consumer.folder, "apps/web/node_modules", NAME)));
		assert.equal(await consumer.node("apps/web/web.mjs", ...stores(redis)), LISTED);
	});

	for (const linker of ["node-modules", "pnp"]) {
		test(`Yarn, with its linker ${linker}`, async (t) => {
			const consumer = Consumer.for(t, release);
			await consumer.yarn(linker, "add", NAME);
			consumer.copy("sessions.mjs");
			assert.equal(existsSync(join(consumer.folder, "node_modules", NAME)), linker === "node-modules");
			assert.equal(await consumer.yarnNode("sessions.mjs", ...stores(redis)), LISTED);
		});
	}

	const machines = Object.entries(MACHINES);
	for (const [platform, machine] of machines.slice(-rounds(3, machines.length))) {
		test(`npm for ${platform}: that binary and no other`, async (t) => {
			const consumer = Consumer.for(t, release);
			await consumer.npm("install", NAME, ...machine);
			assert.deepEqual(packagesIn(consumer.folder), [NAME, `${NAME}-${platform}`]);
		});
	}
}

function packagesIn(folder) {
	const modules = join(folder, "node_modules");
	return existsSync(modules)
		? readdirSync(modules)
				.filter((name) => !name.startsWith("."))
				.sort()
		: [];
}
