// What a page looks like: a picture of it for people, in target/pictures, and what a program can tell.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "../../scripts/programs.js";

const PICTURES = join(root, "target/pictures");
const AXE = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

const WIDE = { viewport: { width: 1200, height: 760 } };
const PHONE = { viewport: { width: 390, height: 760 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
/** Colour scheme and screen: by name, with the options of a browser context. */
export const LOOKS = [
	["light-wide", { colorScheme: "light", ...WIDE }],
	["dark-phone", { colorScheme: "dark", ...PHONE }],
	["dark-wide", { colorScheme: "dark", ...WIDE }],
	["light-phone", { colorScheme: "light", ...PHONE }],
];

/**
 * Takes a picture, and fails when something is cut off or axe finds something that stands in people's way.
 * @param {import("playwright-core").Page} page
 * @param {string} name of the picture
 * @param {string[]} [exclude] selectors of what axe leaves out
 */
export async function examine(page, name, exclude = []) {
	mkdirSync(PICTURES, { recursive: true });
	await page.screenshot({ path: join(PICTURES, `${name}.png`) });
	const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
	assert.ok(overflow <= 0, `${name} is ${overflow} px too wide`);
	await page.evaluate(AXE);
	const { violations } = await page.evaluate((exclude) => globalThis.axe.run({ exclude }), exclude);
	const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(", ")}`);
	assert.deepEqual(found, [], name);
}
