// The Markdown pages of this package, and the blocks of code in them.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { root } from "../../scripts/programs.js";

const ELSEWHERE = ["node_modules", "target", "dist", ".git", ".next", ".vitepress"];

/** Every page, by its path in the package, with its text. */
export function pages() {
	const files = readdirSync(root, { withFileTypes: true }).flatMap(within(root));
	return new Map(files.sort().map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

function within(folder) {
	return (entry) => {
		const path = join(folder, entry.name);
		if (ELSEWHERE.includes(entry.name)) return [];
		if (entry.isDirectory()) return readdirSync(path, { withFileTypes: true }).flatMap(within(path));
		return entry.name.endsWith(".md") ? [relative(root, path)] : [];
	};
}

/**
 * The fenced blocks of a page.
 * @param {string} text
 * @returns {{ language: string, code: string, line: number }[]} `line`: that of its first line of code
 */
export function blocksOf(text) {
	return [...text.matchAll(/^```([^\n]*)\n(.*?)^```$/gms)].map(({ 1: language, 2: code, index }) => {
		return { language, code, line: text.slice(0, index).split("\n").length + 1 };
	});
}

/** A page without its fenced blocks. */
export function proseOf(text) {
	return text.replaceAll(/^```.*?^```$/gms, "");
}

/**
 * What pages link to within the package: the page, the path from the root, and what follows `#`.
 * @param {Map<string, string>} all
 * @returns {{ page: string, target: string, path: string, anchor: string | undefined }[]}
 */
export function linksOf(all) {
	return [...all].flatMap(([page, text]) => {
		const prose = proseOf(text).replaceAll(/`[^`\n]*`/g, "code");
		return [...prose.matchAll(/\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"/g)]
			.map(([, inMarkdown, inHtml]) => inMarkdown ?? inHtml)
			.filter((target) => !/^[a-z]+:/.test(target))
			.map((target) => {
				const [path, anchor] = target.split("#");
				return { page, target, path: path === "" ? page : normalize(join(dirname(page), path)), anchor };
			});
	});
}
