// Medians and spreads. Never averages: one round in which the machine did something else must not move a figure.

/** The value below which the share `q` of an ascending row lies. */
export function quantile(ascending, q) {
	return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * q))];
}

/** Median, least and most of the rounds, and the rounds themselves in order. */
export function summarize(rounds) {
	const ascending = [...rounds].sort((a, b) => a - b);
	const middle = ascending.length >> 1;
	const median = ascending.length % 2 ? ascending[middle] : (ascending[middle - 1] + ascending[middle]) / 2;
	return { median, least: ascending[0], most: ascending.at(-1), rounds };
}
