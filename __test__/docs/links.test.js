// No page has a link within the package that leads nowhere: to a file, a heading, a picture. docs/README.md leads to every page, every picture
// is in some page, and each picture that is drawn says in words what it shows.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../../scripts/programs.js";
import { linksOf, pages, proseOf } from "./pages.js";

const all = pages();

const links = linksOf(all);

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(text) {
	const seen = new Map();
	return [...proseOf(text).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => {
		const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
		const anchor = words.replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, "").replaceAll(" ", "-");
		const before = seen.get(anchor) ?? 0;
		seen.set(anchor, before + 1);
		return before === 0 ? anchor : `${anchor}-${before}`;
	});
}

test("every file that a page links to exists", () => {
	assert.ok(links.length > 80, `only ${links.length} links were found`);
	const dead = links.filter(({ path }) => !existsSync(join(root, path)));
	assert.deepEqual(dead, []);
});

test("every heading that a page links to exists", () => {
	const withAnchor = links.filter(({ anchor, path }) => anchor !== undefined && all.has(path));
	assert.ok(withAnchor.length > 15, `only ${withAnchor.length} anchors were found`);
	const dead = withAnchor.filter(({ anchor, path }) => !anchorsOf(all.get(path)).includes(anchor));
	assert.deepEqual(dead, []);
});

test("docs/README.md links to every page of docs once; README.md links to docs/README.md", () => {
	const from = (page) => links.filter((link) => link.page === page).map(({ path }) => path);
	const own = [...all.keys()].filter((path) => path.startsWith("docs/") && path !== "docs/README.md");
	assert.deepEqual(
		from("docs/README.md")
			.filter((path) => path.startsWith("docs/"))
			.sort(),
		own.sort(),
	);
	assert.ok(from("README.md").includes("docs/README.md"));
});

const pictures = readdirSync(join(root, "docs/images"));

test("every picture of docs/images is used by a page", () => {
	const shown = new Set(links.map(({ path }) => path));
	assert.deepEqual(
		pictures.filter((name) => !shown.has(`docs/images/${name}`)),
		[],
	);
});

for (const name of pictures.filter((name) => name.endsWith(".svg"))) {
	test(`${name} has a title and a description, and its text is in both colour schemes`, () => {
		const picture = readFileSync(join(root, "docs/images", name), "utf8");
		assert.match(picture, /role="img" aria-labelledby="title desc"/);
		assert.match(picture, /<title id="title">[^<]+<\/title>\n<desc id="desc">[^<]{80,}<\/desc>/);
		const [light, dark] = picture.split("@media (prefers-color-scheme: dark)");
		for (const part of [light, dark]) assert.match(part, /\ttext \{[^}]*fill: #/);
	});
}
