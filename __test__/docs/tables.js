// The tables of a Markdown page.

import assert from "node:assert/strict";

/**
 * The rows of all tables between a heading and the next one, as lists of cells, without the rows that head them.
 * @param {string} text the page
 * @param {string} heading without its #
 */
export function rowsBelow(text, heading) {
	const lines = text.split("\n");
	const from = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, "") === heading);
	assert.ok(from >= 0, `no heading ${heading}`);
	const length = lines.slice(from + 1).findIndex((line) => line.startsWith("#"));
	const own = lines.slice(from + 1, length < 0 ? undefined : from + 1 + length);
	const isRule = (line) => line?.startsWith("|--") ?? false;
	const rows = own.filter((line, at) => line.startsWith("|") && !isRule(line) && !isRule(own[at + 1]));
	return rows.map((row) =>
		row
			.slice(1, -1)
			.split("|")
			.map((cell) => cell.trim()),
	);
}
