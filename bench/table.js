// Tables of texts, for the terminal and for Markdown.

/**
 * Columns aligned by spaces; the first to the left, the others to the right.
 * @param {string[]} head
 * @param {string[][]} rows
 */
export function textTable(head, rows, indent = "  ") {
	const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column].length)));
	const line = (row) => row.map((text, i) => (i === 0 ? text.padEnd(widths[i]) : text.padStart(widths[i]))).join("  ");
	return [head, ...rows].map((row) => `${indent}${line(row)}`.trimEnd()).join("\n");
}

/**
 * @param {string[]} head
 * @param {string[][]} rows
 */
export function markdownTable(head, rows) {
	const line = (row) => `| ${row.map((text) => text.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
	return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}
