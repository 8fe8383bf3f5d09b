// docs/shutdown.md's recipe for Next.js: `next start` gets SIGTERM while a write that was given to `after` is in flight, and Redis has it.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pack } from "../../scripts/pack.js";
import { root } from "../../scripts/programs.js";
import { terminate, writeRecipes } from "../docs/shutdown.js";
import { redisPerFile } from "../support/redis.js";

const NEXT = join(root, "node_modules/next/dist/bin/next");
const FILES = {
	"package.json": JSON.stringify({ name: "tiny", private: true, type: "module" }),
	"next.config.js": `
		import { withRedisStore } from "better-auth-redis-store/next";
		export default withRedisStore({ typescript: { ignoreBuildErrors: true } });`,
	"app/layout.jsx": "export default ({ children }) => <html lang='en'><body>{children}</body></html>;",
	"app/page.jsx": "export default () => <p>Hello</p>;",
};

const server = redisPerFile();

test("the shutdown recipe for Next.js delivers the writes in flight", async (t) => {
	// Below the package, whose next and react it uses; with a copy of the package of its own, as an application has.
	const folder = writeRecipes(t, false);
	for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text);
	pack(join(folder, "package.tgz"));
	assert.equal(spawnSync("tar", ["-xzf", "package.tgz"], { cwd: folder }).status, 0);
	const installed = join(folder, "node_modules/better-auth-redis-store");
	cpSync(join(folder, "package"), installed, { recursive: true });
	for (const binary of readdirSync(root).filter((name) => name.endsWith(".node"))) {
		copyFileSync(join(root, binary), join(installed, binary));
	}
	const { status, stdout, stderr } = spawnSync(process.execPath, [NEXT, "build", "--webpack"], {
		cwd: folder,
		encoding: "utf8",
		env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1" },
	});
	assert.equal(status, 0, stdout + stderr);
	assert.equal(await terminate(t, server, folder, [NEXT, "start"], "next"), 143);
});
