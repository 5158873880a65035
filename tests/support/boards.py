"""Fake trees of the boards that the daemon runs on: what the kernel and nvpmodel show there, as files."""

from __future__ import annotations

from pathlib import Path

NVPMODEL_ORIN_NANO = """\
# nvpmodel configuration: the sections above the modes only name files
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online
< PARAM TYPE=FILE NAME=TPC_POWER_GATING >
TPC_PG_MASK /sys/devices/gpu.0/tpc_pg_mask
< PARAM TYPE=CLOCK NAME=GPU >
FREQ_TABLE /sys/devices/17000000.gpu/devfreq_dev/available_frequencies
MAX_FREQ /sys/devices/17000000.gpu/devfreq_dev/max_freq

< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
TPC_POWER_GATING TPC_PG_MASK 240
CPU_A78_0 MAX_FREQ 1510400
GPU MIN_FREQ 0
GPU MAX_FREQ 612000000
EMC MAX_FREQ 2133000000

< POWER_MODEL ID=1 NAME=7W >
CPU_ONLINE CORE_0 1
TPC_POWER_GATING TPC_PG_MASK 252
CPU_A78_0 MAX_FREQ 960000
GPU MIN_FREQ 0
GPU MAX_FREQ 408000000

< POWER_MODEL ID=3 NAME=10W >
CPU_ONLINE CORE_0 1
TPC_POWER_GATING TPC_PG_MASK 240
CPU_A78_0 MAX_FREQ -1
GPU MAX_FREQ 510000000

< POWER_MODEL ID=4 NAME=MAXN_SUPER >
TPC_POWER_GATING TPC_PG_MASK 240
GPU MAX_FREQ -1

< PM_CONFIG DEFAULT=0 >
"""
# It records the mode and caps the GPU, as the board's does; the mode `refused` it does not take.
NVPMODEL = """\
#!/bin/sh
[ "$1" = -m ] || exit 255
case $2 in
  {refused}) echo "NVPM ERROR: mode was not set"; exit 255 ;;
  0) hz=612000000 ;; 1) hz=408000000 ;; 3) hz=510000000 ;; 4) hz=612000000 ;;
esac
printf 'pmode:000%s\\n' "$2" > {root}/var/lib/nvpmodel/status
for file in {root}/sys/class/devfreq/*/max_freq; do echo $hz > "$file"; done
exit 255
"""
NANO_HZ = (306_000_000, 408_000_000, 510_000_000, 612_000_000)
AGX_HZ = tuple(306_000_000 + step * 102_000_000 for step in range(10))
ZONES = ("cpu-thermal", "gpu-thermal", "soc0-thermal", "soc1-thermal", "soc2-thermal", "tj-thermal")
ORIN_TRIPS = (("active", 70_000), ("passive", 99_000), ("critical", 104_500))


def write(path: Path, text: object) -> None:
    """A file and its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", "utf-8")


def ina3221(root: Path, address: str, rails: tuple[tuple[str, int, int], ...], number: int = 0) -> Path:
    """A monitor of up to three rails: label, millivolts, milliamperes; and the sums that it also shows."""
    hwmon = root / f"sys/bus/i2c/drivers/ina3221/{address}/hwmon/hwmon{number}"
    write(hwmon / "name", "ina3221")
    for channel, (label, millivolts, milliamps) in enumerate(rails, 1):
        write(hwmon / f"in{channel}_label", label)
        write(hwmon / f"in{channel}_input", millivolts)
        write(hwmon / f"curr{channel}_input", milliamps)
    write(hwmon / "in7_label", "sum of shunt voltages")
    write(hwmon / "in7_input", 12345)
    write(hwmon / "curr4_input", 99_999)
    link = root / f"sys/class/hwmon/hwmon{number}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(hwmon)
    return hwmon


def zones(root: Path, celsius: float = 50.0, names: tuple[str, ...] = ZONES) -> None:
    """Thermal zones with the trips of Orin."""
    for number, name in enumerate(names):
        directory = root / f"sys/class/thermal/thermal_zone{number}"
        write(directory / "type", name)
        write(directory / "temp", round((celsius - number) * 1000))
        for trip, (kind, millicelsius) in enumerate(ORIN_TRIPS):
            write(directory / f"trip_point_{trip}_type", kind)
            write(directory / f"trip_point_{trip}_temp", millicelsius)


def devfreq(root: Path, name: str, frequencies: tuple[int, ...]) -> Path:
    """A GPU whose clock can be capped."""
    directory = root / "sys/class/devfreq" / name
    write(directory / "available_frequencies", " ".join(map(str, frequencies)))
    write(directory / "cur_freq", frequencies[0])
    write(directory / "min_freq", frequencies[0])
    write(directory / "max_freq", frequencies[-1])
    return directory


def over_current(root: Path, counts: tuple[int, int, int] = (0, 0, 0)) -> Path:
    """The counters of throttling by the supply's current."""
    directory = root / "sys/class/hwmon/hwmon9"
    write(directory / "name", "soctherm_oc")
    for number, count in enumerate(counts, 1):
        write(directory / f"oc{number}_event_cnt", count)
    return directory


def nvpmodel(root: Path, refused: object = "none") -> None:
    """The board's program that sets its modes."""
    program = root / "usr/sbin/nvpmodel"
    write(program, NVPMODEL.format(root=root, refused=refused))
    program.chmod(0o755)


def orin_nano(root: Path) -> Path:
    """Orin Nano: one rail measures the whole input."""
    write(root / "proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
    rails = (("VDD_IN", 5000, 2400), ("VDD_CPU_GPU_CV", 5000, 900), ("VDD_SOC", 5000, 600))
    ina3221(root, "1-0040", rails, 1)
    zones(root)
    devfreq(root, "17000000.gpu", NANO_HZ)
    write(root / "sys/devices/platform/gpu.0/load", 734)
    over_current(root)
    write(root / "etc/nvpmodel.conf", NVPMODEL_ORIN_NANO)
    write(root / "var/lib/nvpmodel/status", "pmode:0000")
    return root


def orin_nx(root: Path) -> Path:
    """Orin NX on JetPack 5: the GPU has another name; two zones are gated."""
    orin_nano(root)
    write(root / "proc/device-tree/model", "NVIDIA Orin NX Developer Kit\0")
    (root / "sys/class/devfreq/17000000.gpu").rename(root / "sys/class/devfreq/17000000.ga10b")
    write(root / "sys/class/thermal/thermal_zone2/temp", -256_000)
    (root / "sys/class/thermal/thermal_zone3/temp").unlink()
    (root / "sys/class/thermal/thermal_zone3/temp").mkdir()  # reading it fails, as it does on the board
    return root


def agx_orin(root: Path) -> Path:
    """AGX Orin: two monitors, no rail for the whole."""
    write(root / "proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0")
    big = (("VDD_GPU_SOC", 20_000, 400), ("VDD_CPU_CV", 20_000, 200), ("VIN_SYS_5V0", 5000, 900))
    ina3221(root, "1-0040", big, 1)
    ina3221(root, "1-0041", (("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5000, 300), ("NC", 0, 0)), 2)
    zones(root)
    devfreq(root, "17000000.gpu", AGX_HZ)
    write(root / "sys/devices/platform/gpu.0/load", 20)
    over_current(root, (0, 2, 0))
    return root


def thor(root: Path) -> Path:
    """Thor: the input through an INA238 in microwatts, rails beside it, two GPU clock domains."""
    write(root / "proc/device-tree/model", "NVIDIA Jetson AGX Thor Developer Kit\0")
    hwmon = root / "sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon3"
    write(hwmon / "name", "ina238")
    write(hwmon / "power1_input", 41_500_000)
    rails = (("VDD_GPU", 20_000, 900), ("VDD_CPU_SOC_MSS", 20_000, 500), ("VIN_SYS_5V0", 5000, 1100))
    ina3221(root, "2-0040", rails, 1)
    zones(root)
    devfreq(root, "gpu-gpc-0", (510_000_000, 1_050_000_000, 1_575_000_000))
    devfreq(root, "gpu-nvd-0", (600_000_000, 1_200_000_000))
    return root


def pc(root: Path) -> Path:
    """A PC with two processor packages and their parts."""
    write(root / "sys/class/dmi/id/product_name", "OptiPlex")
    for name, label in (("0", "package-0"), ("0:0", "core"), ("1", "package-1")):
        domain = root / f"sys/class/powercap/intel-rapl:{name}"
        write(domain / "name", label)
        write(domain / "energy_uj", 1_000_000)
        write(domain / "max_energy_range_uj", 262_143_328_850)
    write(root / "sys/class/thermal/thermal_zone0/type", "x86_pkg_temp")
    write(root / "sys/class/thermal/thermal_zone0/temp", 45_000)
    return root
