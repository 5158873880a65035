// grpc-health-check: whether a service is served.
//   node health.cjs ADDRESS [SERVICE]
const grpc = require("@grpc/grpc-js");
const health = require("grpc-health-check");

const [address, service = ""] = process.argv.slice(2);
const Health = grpc.makeGenericClientConstructor(health.service, "grpc.health.v1.Health");
const client = new Health(address, grpc.credentials.createInsecure());

client.Check({ service }, { deadline: Date.now() + 20000 }, (error, answer) => {
  if (error) { console.error(`${grpc.status[error.code]}: ${error.details}`); process.exitCode = 1; }
  else console.log(answer.status);
  client.close();
});
