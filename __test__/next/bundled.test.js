// A Next.js application without withRedisStore: its build ends with words that say what to do.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pack } from "../../scripts/pack.js";
import { root } from "../../scripts/programs.js";
import { rounds } from "../support/counts.js";

const FILES = {
	"package.json": JSON.stringify({ name: "tiny", private: true, type: "module" }),
	"next.config.js": `export default { turbopack: { root: ${JSON.stringify(root)} }, typescript: { ignoreBuildErrors: true } };`,
	"app/layout.jsx": "export default ({ children }) => <html lang='en'><body>{children}</body></html>;",
	"app/page.jsx": "export default () => <p>Hello</p>;",
	"app/api/route.js": `
		import { redisStorage } from "better-auth-redis-store";
		const storage = redisStorage("memory://");
		export const GET = async () => new Response(await storage.get("a"));`,
};

for (const bundler of rounds(["turbopack"], ["turbopack", "webpack"])) {
	test(`the error of next build --${bundler} without withRedisStore names it`, (t) => {
		// Below the package, whose next and react it uses; with a copy of the package of its own, as an application has.
		mkdirSync(join(root, "target"), { recursive: true });
		const folder = mkdtempSync(join(root, "target/next-"));
		t.after(() => rmSync(folder, { recursive: true }));
		for (const [name, text] of Object.entries(FILES)) {
			mkdirSync(join(folder, name, ".."), { recursive: true });
			writeFileSync(join(folder, name), text);
		}
		pack(join(folder, "package.tgz"));
		assert.equal(spawnSync("tar", ["-xzf", "package.tgz"], { cwd: folder }).status, 0);
		cpSync(join(folder, "package"), join(folder, "node_modules/better-auth-redis-store"), { recursive: true });

		const next = join(root, "node_modules/next/dist/bin/next");
		const { status, stdout, stderr } = spawnSync(process.execPath, [next, "build", `--${bundler}`], {
			cwd: folder,
			encoding: "utf8",
			env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1" },
		});
		assert.notEqual(status, 0);
		assert.match(stdout + stderr, /better-auth-redis-store was bundled\b[\s\S]+import \{ withRedisStore \} from/);
	});
}
