// What tests measured, for docs/reliability.md: with TEST_WRITE_DOCS=1 the tables there are made anew from it when the test file ends.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { root } from "../../scripts/programs.js";

const page = join(root, "docs/reliability.md");

/** By table, its rows. @type {Map<string, Record<string, string>[]>} */
const tables = new Map();

/**
 * A row of a table.
 * @param {string} table which one: the page has the lines `<!-- measured: TABLE -->` and `<!-- end -->` around it
 * @param {Record<string, string>} row by column
 */
export function measured(table, row) {
	tables.set(table, [...(tables.get(table) ?? []), row]);
}

/** Milliseconds, for a table. @param {number} ms */
export function inMs(ms) {
	return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

if (process.env.TEST_WRITE_DOCS) {
	after(() => {
		let text = readFileSync(page, "utf8");
		for (const [table, rows] of tables) text = withTable(text, table, rows);
		writeFileSync(page, text);
	});
}

function withTable(text, table, rows) {
	const [begin, end] = [`<!-- measured: ${table} -->\n`, "<!-- end -->"];
	const at = text.indexOf(begin);
	if (at < 0) throw new Error(`docs/reliability.md has no place for the table "${table}"`);
	const columns = Object.keys(rows[0]);
	const line = (cells) => `| ${cells.join(" | ")} |\n`;
	const lines = [columns, columns.map(() => "---"), ...rows.map((row) => columns.map((column) => row[column]))];
	const from = at + begin.length;
	return text.slice(0, from) + lines.map(line).join("") + text.slice(text.indexOf(end, from));
}
