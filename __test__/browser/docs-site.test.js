// The documentation as a site: it builds, each page and each heading that a page links to is in it, its search finds a
// page, and it can be read in light and dark, on a wide screen and on a phone.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { freePort } from "../../examples/nextjs/cluster/servers.js";
import { root, run } from "../../scripts/programs.js";
import { linksOf, pages } from "../docs/pages.js";
import { endWithProcess } from "../support/lifetime.js";
import { until } from "../support/wait.js";
import { examine, LOOKS } from "./looks.js";
import { openBrowser } from "./people.js";

const VITEPRESS = join(root, "node_modules/.bin/vitepress");
const SITE = join(root, "docs/.vitepress/dist");
/** VitePress' own: what it shows ("Search K") is not its accessible name ("Search"). */
const SEARCH_BUTTON = ".DocSearch";
const own = [...pages()].filter(([path]) => path.startsWith("docs/"));

/** A file of the site that is made of a page. */
function built(page, ending) {
	return join(SITE, page.replace("docs/README.md", "index.md").replace("docs/", "").replace(/\.md$/, ending));
}

describe("the documentation as a site", () => {
	before(() => assert.ok(run(VITEPRESS, ["build", "docs"]), "vitepress build docs failed"));

	test("has every page, as HTML and as Markdown, and lists each in llms.txt", () => {
		const listed = readFileSync(join(SITE, "llms.txt"), "utf8");
		for (const [page] of own.filter(([page]) => page !== "docs/README.md")) {
			assert.ok(existsSync(built(page, ".html")), page);
			assert.ok(existsSync(built(page, ".md")), page);
			assert.ok(listed.includes(`/${page.replace("docs/", "")})`), `llms.txt lacks ${page}`);
		}
	});

	test("has every heading that a page links to", () => {
		const links = linksOf(pages()).filter(
			({ page, path, anchor }) => anchor && page.startsWith("docs/") && path.startsWith("docs/"),
		);
		assert.ok(links.length > 15, `only ${links.length} links were found`);
		const dead = links.filter(
			({ path, anchor }) => !readFileSync(built(path, ".html"), "utf8").includes(` id="${anchor}"`),
		);
		assert.deepEqual(dead, []);
	});

	test("can be searched and read in a browser, in light and dark, wide and on a phone", async (t) => {
		const url = await preview(t);
		const { browser, close } = await openBrowser();
		t.after(close);
		for (const [look, options] of LOOKS) {
			const context = await browser.newContext({ reducedMotion: "reduce", ...options });
			const page = await context.newPage();
			for (const name of ["", "nextjs", "options", "troubleshooting"]) {
				await page.goto(`${url}/${name}`);
				await page.getByRole("heading", { level: 1 }).waitFor();
				await examine(page, `docs-${name || "index"}-${look}`, [SEARCH_BUTTON]);
			}
			await page.getByRole("button", { name: "Search" }).click();
			await page.getByRole("searchbox").fill("maxStalenessMs");
			await page.getByRole("option").first().waitFor();
			await context.close();
		}
	});
});

/** The built site on a free port. @returns {Promise<string>} its address */
async function preview(t) {
	const url = `http://localhost:${await freePort()}`;
	const server = spawn(VITEPRESS, ["preview", "docs", "--port", new URL(url).port], { stdio: "inherit" });
	const end = () => server.kill();
	const release = endWithProcess(end);
	t.after(() => {
		release();
		end();
	});
	await until("the site is served", () =>
		fetch(url).then(
			({ ok }) => ok,
			() => false,
		),
	);
	return url;
}
