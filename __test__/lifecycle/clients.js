// Who is connected to a Redis server, as the server itself tells.

/**
 * The connections that bear a name.
 * @param {import("../support/redis.js").RedisServer} server
 * @param {string} name the option connectionName
 * @returns {Promise<string[]>} their lines of CLIENT LIST
 */
export async function connectionsNamed(server, name) {
	const list = await server.cli("CLIENT", "LIST");
	return list.split("\n").filter((line) => line.includes(` name=${name} `));
}

/**
 * The connections that were made after `id` was given out, but for that which asks.
 * @param {import("../support/redis.js").RedisServer} server
 * @param {number} id what CLIENT ID answered: the ids only rise
 * @returns {Promise<string[]>} their lines of CLIENT LIST
 */
export async function connectionsSince(server, id) {
	const list = await server.cli("CLIENT", "LIST");
	const idOf = (line) => Number(line.match(/^id=(\d+) /)?.[1]);
	return list.split("\n").filter((line) => idOf(line) > id && !line.includes(" cmd=client|list "));
}
