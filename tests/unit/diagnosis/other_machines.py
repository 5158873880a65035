"""Ten entries of other machines than the demo's; what logs told before, and the cause it speaks for.

Written before relations.py was first run on them, by the same hand: how it does on them flatters it.
"""

from lineside.diagnosis.knowledge.entry import Entry, Text

# An entry in both languages; for each case the log's language, its lines, and the number of the cause.
MACHINES = (
    (
        Entry(
            source="p",
            code="X1",
            en=Text(
                title="Spindle vibration too high",
                causes=(
                    "The tool is unbalanced or badly clamped.",
                    "A spindle bearing is damaged.",
                    "The machine's feet have settled.",
                ),
                actions=(
                    "Clamp another tool and compare.",
                    "Measure the bearing's vibration spectrum.",
                    "Check the machine's level.",
                ),
            ),
            zh=Text(
                title="主轴振动过大",
                causes=("刀具不平衡或夹持不良。", "主轴轴承损坏。", "机床地脚下沉。"),
                actions=("换一把刀具比较。", "测量轴承振动频谱。", "检查机床水平。"),
            ),
        ),
        (
            ("en", ("13:02 tool change, T14 in spindle",), 0),
            ("en", ("grinding noise from the headstock since yesterday",), 1),
            ("zh", ("主轴处有尖锐异响",), 1),
            ("zh", ("昨日更换刀具 T14",), 0),
            ("en", ("forklift hit the machine bed",), 2),
        ),
    ),
    (
        Entry(
            source="p",
            code="X1",
            en=Text(
                title="Ground fault in heater circuit",
                causes=(
                    "The heater's insulation has aged.",
                    "Moisture has entered the terminal box.",
                    "The cable is chafed.",
                ),
                actions=(
                    "Measure the insulation of the heater.",
                    "Dry the terminal box and replace its seal.",
                    "Inspect the cable.",
                ),
            ),
            zh=Text(
                title="加热回路接地故障",
                causes=("加热器绝缘老化。", "接线盒进水受潮。", "电缆磨破。"),
                actions=("测量加热器绝缘。", "烘干接线盒并更换密封。", "检查电缆。"),
            ),
        ),
        (
            ("en", ("05:30 washdown finished",), 1),
            ("zh", ("05:30 设备冲洗结束",), 1),
            ("en", ("heavy rain, roof leaks over line 2",), 1),
            ("en", ("06:00 shift start", "06:10 heater on"), 0),
            ("zh", ("昨夜暴雨",), 1),
        ),
    ),
    (
        Entry(
            source="p",
            code="X1",
            en=Text(
                title="Discharge pressure too low",
                causes=(
                    "The inlet filter is clogged.",
                    "Air has remained in the line after work on it.",
                    "The impeller is worn.",
                ),
                actions=(
                    "Look at the filter's differential pressure.",
                    "Vent the line.",
                    "Measure the impeller's clearance.",
                ),
            ),
            zh=Text(
                title="出口压力过低",
                causes=("入口滤网堵塞。", "管路检修后残留空气。", "叶轮磨损。"),
                actions=("查看滤网压差。", "给管路排气。", "测量叶轮间隙。"),
            ),
        ),
        (
            ("en", ("valve V3 replaced on Monday by contractor",), 1),
            ("zh", ("周一检修更换阀门 V3",), 1),
            ("en", ("filter dp 0.9 bar",), 0),
            ("en", ("pump rattles and vibrates at full speed",), 2),
            ("zh", ("泵体振动加剧",), 2),
        ),
    ),
    (
        Entry(
            source="p",
            code="X1",
            en=Text(
                title="Axis following error",
                causes=(
                    "The axis parameters are wrong.",
                    "The guide is dry or stiff.",
                    "The axis has collided and the ball screw is bent.",
                ),
                actions=(
                    "Compare the parameters with the record.",
                    "Lubricate the guide.",
                    "Measure the ball screw's runout.",
                ),
            ),
            zh=Text(
                title="轴跟随误差",
                causes=("轴参数错误。", "导轨缺油或卡涩。", "轴发生碰撞，丝杠弯曲。"),
                actions=("与记录核对参数。", "润滑导轨。", "测量丝杠跳动。"),
            ),
        ),
        (
            ("en", ("drive replaced 09:10, commissioned by service",), 0),
            ("en", ("lubrication pump empty for 3 days",), 1),
            ("zh", ("昨日夹具撞到工作台",), 2),
            ("en", ("crash into fixture at 14:22",), 2),
            ("zh", ("驱动器更换后首次上电",), 0),
            ("zh", ("导轨发出吱吱声",), 1),
        ),
    ),
    (
        Entry(
            source="p",
            code="X1",
            en=Text(
                title="Undervoltage of the DC link",
                causes=(
                    "The mains dips.",
                    "The charging resistor is open.",
                    "The braking unit draws current.",
                ),
                actions=(
                    "Record the mains for a shift.",
                    "Measure the charging resistor.",
                    "Disconnect the braking unit.",
                ),
            ),
            zh=Text(
                title="直流母线欠压",
                causes=("电网电压波动。", "充电电阻开路。", "制动单元漏电流。"),
                actions=("记录一个班次的电网电压。", "测量充电电阻。", "断开制动单元。"),
            ),
        ),
        (
            ("en", ("lights flickered in the hall, thunderstorm",), 0),
            ("zh", ("雷雨，车间灯闪",), 0),
            ("en", ("braking unit fan replaced",), 2),
            ("zh", ("制动单元上周更换",), 2),
        ),
    ),
    (
        Entry(
            source="p",
            code="X1",
            en=Text(
                title="Compressor oil temperature high",
                causes=(
                    "The oil level is low.",
                    "The room is not ventilated enough.",
                    "The cooler is dirty.",
                ),
                actions=("Check the oil level.", "Measure the room temperature.", "Blow out the cooler."),
            ),
            zh=Text(
                title="空压机油温高",
                causes=("油位低。", "机房通风不足。", "冷却器脏。"),
                actions=("检查油位。", "测量机房温度。", "吹扫冷却器。"),
            ),
        ),
        (
            ("en", ("air conditioning of the compressor room failed",), 1),
            ("zh", ("机房空调停机",), 1),
            ("en", ("drops of oil under the machine",), 0),
            ("en", ("hot day, 38 Cel outside",), 1),
            ("zh", ("机组下方有油迹",), 0),
            ("en", ("sanding work next door, much dust",), 2),
        ),
    ),
    (
        Entry(
            source="p",
            code="X1",
            en=Text(
                title="Label position out of tolerance",
                causes=(
                    "The label sensor is set for other labels.",
                    "The drive roller slips.",
                    "The web brake is worn.",
                ),
                actions=("Teach the sensor anew.", "Clean the drive roller.", "Measure the web tension."),
            ),
            zh=Text(
                title="标签位置超差",
                causes=("标签传感器未按当前标签设定。", "驱动辊打滑。", "制动带磨损。"),
                actions=("重新示教传感器。", "清洁驱动辊。", "测量张力。"),
            ),
        ),
        (
            ("en", ("09:40 new reel of labels, other supplier",), 0),
            ("zh", ("09:40 更换标签卷，新供应商",), 0),
            ("en", ("rollers sprayed with silicone",), 1),
            ("en", ("format changeover to 500 ml",), 0),
            ("zh", ("驱动辊刚冲洗过",), 1),
        ),
    ),
    (
        Entry(
            source="p",
            code="X1",
            en=Text(
                title="Hydraulic cylinder drifts down",
                causes=(
                    "The load-holding valve does not close.",
                    "The piston seal leaks.",
                    "The hose to the rod side leaks.",
                ),
                actions=(
                    "Test the load-holding valve.",
                    "Measure the leakage across the piston.",
                    "Inspect the hose.",
                ),
            ),
            zh=Text(
                title="油缸下沉",
                causes=("平衡阀未关闭。", "活塞密封内泄。", "有杆腔软管渗漏。"),
                actions=("测试平衡阀。", "测量活塞内泄量。", "检查软管。"),
            ),
        ),
        (
            ("en", ("load-holding valve swapped for a new one on Friday",), 0),
            ("en", ("oil puddle below the hose reel",), 2),
            ("zh", ("软管接头处有油滴",), 2),
            ("en", ("12:00 production normal",), 0),
            ("zh", ("平衡阀周五换新",), 0),
        ),
    ),
    (
        Entry(
            source="p",
            code="X1",
            en=Text(
                title="Battery of the controller low",
                causes=(
                    "The battery has reached its age.",
                    "The controller was without power for long.",
                    "The holder's contact is corroded.",
                ),
                actions=(
                    "Replace the battery with power on.",
                    "Back up the programs.",
                    "Clean the contacts.",
                ),
            ),
            zh=Text(
                title="控制器电池电压低",
                causes=("电池到寿命。", "控制器长期断电。", "电池座触点腐蚀。"),
                actions=("通电更换电池。", "备份程序。", "清洁触点。"),
            ),
        ),
        (
            ("en", ("plant shutdown over the holidays, 3 weeks",), 1),
            ("zh", ("春节停产三周",), 1),
            ("en", ("cabinet found wet after roof leak",), 2),
            ("zh", ("电柜进水后擦干",), 2),
        ),
    ),
    (
        Entry(
            source="p",
            code="X1",
            en=Text(
                title="Checkweigher rejects too many packs",
                causes=(
                    "The tare has drifted.",
                    "Product sticks to the weighing belt.",
                    "The packs come too close together.",
                ),
                actions=("Tare anew.", "Clean the weighing belt.", "Slow the infeed."),
            ),
            zh=Text(
                title="检重秤剔除过多",
                causes=("去皮漂移。", "产品粘在称重皮带上。", "包装间距过小。"),
                actions=("重新去皮。", "清洁称重皮带。", "降低进料速度。"),
            ),
        ),
        (
            ("en", ("infeed speed raised to 120 per minute",), 2),
            ("zh", ("进料速度提高到 120 包/分",), 2),
            ("en", ("recipe changed to honey glaze, sticky",), 1),
            ("en", ("08:00 cleaning finished", "08:05 start"), 0),
        ),
    ),
)
