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
