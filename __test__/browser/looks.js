// What a page looks like: a picture of it for people, in target/pictures, and what a program can tell.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "../../scripts/programs.js";

const PICTURES = join(root, "target/pictures");
const AXE = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

/**
 * Takes a picture, and fails when something is cut off or axe finds something that stands in people's way.
 * @param {import("playwright-core").Page} page
 * @param {string} name of the picture
 */
export async function examine(page, name) {
	mkdirSync(PICTURES, { recursive: true });
	await page.screenshot({ path: join(PICTURES, `${name}.png`) });
	const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
	assert.ok(overflow <= 0, `${name} is ${overflow} px too wide`);
	await page.evaluate(AXE);
	const { violations } = await page.evaluate(() => globalThis.axe.run());
	const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(", ")}`);
	assert.deepEqual(found, [], name);
}
