// The documentation as a site. `npm run docs` serves it, `npm run docs:build` writes it to docs/.vitepress/dist.
// The pages are those of docs/; the sidebar is the list of pages in docs/README.md.

import { readFileSync } from "node:fs";
import { defineConfig } from "vitepress";
import llmstxt from "vitepress-plugin-llms";

/** Where the site is published, for example "https://example.com". Empty until it is published. */
const SITE = "";

/** Where the files of the repository can be read. Links that leave docs/ are plain text until it is known. */
const REPOSITORY = "";

const contents = readFileSync(new URL("../README.md", import.meta.url), "utf8");

export default defineConfig({
	title: "better-auth-redis-store",
	description: "Better Auth sessions in Redis or Valkey",
	rewrites: { "README.md": "index.md" },
	cleanUrls: true,
	metaChunk: true,
	...(SITE && { sitemap: { hostname: SITE } }),
	themeConfig: {
		search: { provider: "local" },
		outline: [2, 3],
		sidebar: sidebarOf(contents),
	},
	markdown: {
		theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
		anchor: { slugify: anchorOf },
		languages: ["sh"],
		languageAlias: { redis: "sh" },
		config: (md) => md.use(linksOfTheRepository),
	},
	vite: { plugins: [llmstxt({ domain: SITE || undefined, ignoreFiles: ["images/*"] })] },
});

/** The headings of the list of pages as groups, and the pages under each. */
function sidebarOf(text: string) {
	return text
		.split(/^## /m)
		.slice(1)
		.map((group) => ({
			text: group.slice(0, group.indexOf("\n")),
			items: [...group.matchAll(/^- \[(.+?)\]\((.+?)\.md\)/gm)].map(([, title, page]) => ({
				text: title as string,
				link: `/${page}`,
			})),
		}));
}

/** The anchor of a heading, as GitHub makes it: links between pages work in the repository too. */
function anchorOf(heading: string) {
	return heading
		.toLowerCase()
		.replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
		.replaceAll(" ", "-");
}

/** Links to files outside docs/ lead to the repository, or become plain text. */
function linksOfTheRepository(md: import("markdown-it").default) {
	md.core.ruler.push("links-of-the-repository", ({ tokens }) => {
		for (const token of tokens) {
			let leaves = false;
			token.children = (token.children ?? []).filter((part) => {
				if (part.type === "link_open") {
					const target = part.attrGet("href") ?? "";
					leaves = target.startsWith("../");
					if (leaves && REPOSITORY) part.attrSet("href", REPOSITORY + target.slice("..".length));
				}
				return REPOSITORY || !leaves || !part.type.startsWith("link_");
			});
		}
	});
}
