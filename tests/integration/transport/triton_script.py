"""Runs under an environment of its own, with tritonclient: its descriptors clash with ours in one process.

Prints what a user of that client sees, as one JSON object.
"""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton


def text(name, value):
    tensor = triton.InferInput(name, [1], "BYTES")
    tensor.set_data_from_numpy(np.array([value.encode()], dtype=object))
    return tensor


def flag(name, value):
    tensor = triton.InferInput(name, [1], "BOOL")
    tensor.set_data_from_numpy(np.array([value]))
    return tensor


def seen(result):
    response = result.get_response()
    outputs = {}
    for output in response.outputs:
        (value,) = result.as_numpy(output.name).tolist()
        outputs[output.name] = value.decode() if isinstance(value, bytes) else value
    final = response.parameters.get("triton_final_response")
    return {"id": response.id, "outputs": outputs, "final": final.bool_param if final else None}


def unary(client):
    inputs = [
        text("text_input", "one two"),
        text("sampling_parameters", '{"temperature": "0", "max_tokens": 5}'),
    ]
    wanted = [triton.InferRequestedOutput("text_output")]
    quiet = [*inputs, flag("exclude_input_in_output", True)]
    return {
        "all": seen(client.infer("tiny", inputs, request_id="r1", timeout=3_000_000)),
        "quiet": seen(client.infer("tiny", quiet, outputs=wanted)),
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model": client.is_model_ready("tiny"),
        "version": client.is_model_ready("tiny", "1"),
        "other": client.is_model_ready("other"),
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata("tiny", as_json=True),
    }


def failures(client):
    def status(model, inputs, **arguments):
        try:
            client.infer(model, inputs, **arguments)
        except triton.InferenceServerException as error:
            return [error.status(), error.message()]
        return None

    hello = text("text_input", "hello")
    return {
        "model": status("other", [hello]),
        "version": status("tiny", [hello], model_version="7"),
        "stream": status("tiny", [hello, flag("stream", True)]),
        "sampling": status("tiny", [hello, text("sampling_parameters", '{"temperature": 9}')]),
        "overload": status("tiny", [text("text_input", "!reject:overload")]),
        "aborted": status("tiny", [text("text_input", "one !abort:deadline")]),
        "timeout": status("tiny", [text("text_input", "!wait")], client_timeout=0.3),
    }


def drain(answers, count):
    got = []
    for _ in range(count):
        result, error = answers.get(timeout=10)
        got.append({"error": error.message()} if error else seen(result))
    return got


def stream(client):
    answers = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))

    def ask(prompt, request_id, *, streamed=True, empty=False, outputs=None):
        inputs = [text("text_input", prompt), flag("stream", streamed)]
        named = [triton.InferRequestedOutput(name) for name in outputs or []]
        client.async_stream_infer(
            "tiny", inputs, outputs=named, request_id=request_id, enable_empty_final_response=empty
        )

    seen_so_far = {}
    ask("a b", "s1")
    seen_so_far["tokens"] = drain(answers, 3)
    ask("a b", "s2", streamed=False)
    seen_so_far["whole"] = drain(answers, 1)
    ask("a", "s3", outputs=["text_output"])
    ask("b", "s4", outputs=["text_output"], empty=True)
    seen_so_far["final"] = drain(answers, 3)
    ask("!reject:power", "s5")
    seen_so_far["error"] = drain(answers, 1)
    ask("still here", "s6", streamed=False)
    seen_so_far["after"] = drain(answers, 1)
    ask("one !wait", "s7")
    seen_so_far["slow"] = drain(answers, 1)
    ask("fast", "s8", streamed=False)
    seen_so_far["beside"] = drain(answers, 1)
    client.stop_stream(cancel_requests=True)
    return seen_so_far


if __name__ == "__main__":
    scenario = {"unary": unary, "failures": failures, "stream": stream}[sys.argv[2]]
    with triton.InferenceServerClient(sys.argv[1]) as connected:
        print(json.dumps(scenario(connected)))
