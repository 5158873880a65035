// MQTT.js: ask with MQTT 5's response topic and correlation data, print the answer.
//   node mqttjs.cjs PORT DEVICE REPORT
const crypto = require("node:crypto");
const mqtt = require("mqtt");

const [port, device, report] = process.argv.slice(2);
const responseTopic = `lineside/reply/${crypto.randomUUID()}`;
const correlationData = crypto.randomBytes(8);
const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5 });

setTimeout(() => { console.error("no answer"); process.exit(1); }, 20000).unref();

client.on("connect", async () => {
  await client.subscribeAsync(responseTopic, { qos: 1 });
  const properties = { responseTopic, correlationData, contentType: "application/json" };
  await client.publishAsync(`lineside/v1/fault/${device}`, report, { qos: 1, properties });
});
client.on("message", (_topic, payload, packet) => {
  if (!correlationData.equals(packet.properties.correlationData)) return;
  console.log(payload.toString());
  client.end();
});
