"""Every text of the console, in both languages; templates and scripts hold none of their own.

Keys that begin with `js_` are handed to the page's script.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from devices.spec import Text

TEXTS: Final[Mapping[str, Text]] = {
    "product": Text("城市地下 · 监控台", "Undercity · Console"),
    "overview": Text("总览", "Overview"),
    "skip": Text("跳到主要内容", "Skip to content"),
    "other_language": Text("English", "中文"),
    "clock_label": Text("北京时间", "Time (Asia/Shanghai)"),
    "zone_label": Text("时区 {zone}", "Time zone {zone}"),
    # signs of life
    "live": Text("实时", "LIVE"),
    "stale": Text("数据中断", "DATA STALE"),
    "js_live": Text("实时", "LIVE"),
    "js_stale": Text("数据中断", "DATA STALE"),
    "js_stale_connection": Text(
        "与服务器的连接已断开，画面不再更新", "connection to the server lost; this page is not updating"
    ),
    "js_stale_pipeline": Text("处理管线已 {age} 没有任何事件", "the pipeline has shown no event for {age}"),
    "js_stale_never": Text("处理管线尚未运行", "the pipeline has not run yet"),
    "js_stale_link": Text("与消息代理的连接已断开", "link to the message broker is down"),
    "js_stale_alerts": Text("告警无法读取", "alerts cannot be read"),
    "js_stale_values": Text("时序数据库无法读取", "the time-series store cannot be read"),
    "js_stale_health": Text("管线状态无法读取", "the state of the pipeline cannot be read"),
    "noscript": Text(
        "脚本未运行：本页不会自动更新，数据可能已过期。",
        "Scripts are off: this page does not update and may be stale.",
    ),
    "lag": Text("待处理 {n}", "backlog {n}"),
    "js_lag": Text("待处理 {n} · 待入库 {m}", "backlog {n} · to store {m}"),
    "js_new_alert": Text("新告警：{text}", "New alert: {text}"),
    "js_ago_s": Text("{n} 秒", "{n} s"),
    "js_ago_m": Text("{n} 分钟", "{n} min"),
    "js_ago_h": Text("{n} 小时", "{n} h"),
    "js_ago_d": Text("{n} 天", "{n} d"),
    "js_never": Text("从未上报", "never"),
    "js_state_reporting": Text("正常", "reporting"),
    "js_state_waiting": Text("尚未上报", "not yet heard from"),
    "js_state_silent": Text("静默", "silent"),
    "js_state_alarming": Text("告警", "alarm"),
    "js_quality_0": Text("有效", "good"),
    "js_quality_1": Text("可疑", "suspect"),
    "js_quality_2": Text("维护", "maintenance"),
    "js_quality_3": Text("无效", "bad"),
    "js_quality_4": Text("缺失", "missing"),
    "js_chart_mean": Text("均值", "mean"),
    "js_chart_value": Text("数值", "value"),
    "js_chart_low": Text("最小", "min"),
    "js_chart_high": Text("最大", "max"),
    "js_chart_time": Text("时间", "time"),
    "js_chart_empty": Text("此时段没有数据", "no data in this range"),
    "js_chart_failed": Text("曲线无法读取", "the chart cannot be read"),
    "js_chart_bad": Text("{n} 个坏值未绘制", "{n} bad values not drawn"),
    "js_chart_raw": Text("原始值 {n} 个", "{n} raw values"),
    "js_chart_bucket": Text("每 {age} 的最小/均值/最大", "min/mean/max per {age}"),
    "js_chart_plausible_low": Text("合理下限", "plausible from"),
    "js_chart_plausible_high": Text("合理上限", "plausible to"),
    "js_chart_limit": Text("报警限值", "alarm limit"),
    "js_reload": Text("这条告警已变化，正在刷新", "this alert changed; refreshing"),
    # overview
    "active_alerts": Text("当前告警", "Active alerts"),
    "no_active_alerts": Text("没有告警。所有规则均未触发。", "No active alerts: no rule is violated at present."),
    "more_alerts": Text("另有 {n} 条较低优先级告警未列出", "{n} more of lower priority are not listed"),
    "alerts_unreadable": Text("告警无法读取：{why}", "Alerts cannot be read: {why}"),
    "values_unreadable": Text("最新值无法读取：{why}", "Latest values cannot be read: {why}"),
    "kinds": Text("设备状况", "Devices by kind"),
    "reporting": Text("正常上报", "reporting"),
    "silent": Text("静默", "silent"),
    "waiting": Text("新登记，尚未上报", "new, not yet heard from"),
    "alarming": Text("告警中", "alarming"),
    "state_reporting": Text("正常", "reporting"),
    "state_waiting": Text("尚未上报", "not yet heard from"),
    "state_silent": Text("静默", "silent"),
    "state_alarming": Text("告警", "alarm"),
    "latest_values": Text("最新值", "Latest values"),
    "filter": Text("筛选", "Filter"),
    "filter_hint": Text("设备编号、站点、区、街道或网关", "device, site, district, street or gateway"),
    "show_all": Text("全部", "all"),
    "apply": Text("查找", "Find"),
    "page_of": Text("第 {page} / {pages} 页，共 {n} 台", "page {page} of {pages}, {n} devices"),
    "previous": Text("上一页", "Previous"),
    "next": Text("下一页", "Next"),
    "paging": Text("翻页", "Paging"),
    "no_devices": Text("尚未登记任何设备。", "No devices are registered yet."),
    "no_devices_how": Text(
        "用城市普查文件导入：undercity devices import census.csv；或用 undercity demo 看演示城市。",
        "Import the city's census file: undercity devices import census.csv; or watch a demo: undercity demo.",
    ),
    "no_devices_of_kind": Text("这一类还没有登记设备。", "No device of this kind is registered yet."),
    "no_match": Text("没有符合筛选条件的设备。", "No device matches the filter."),
    # columns and facts
    "state": Text("状态", "State"),
    "device": Text("设备", "Device"),
    "gateway": Text("网关", "Gateway"),
    "site": Text("站点", "Site"),
    "address": Text("地址", "Address"),
    "district": Text("区 / 街道", "District / street"),
    "department_charge": Text("主管部门", "Department in charge"),
    "department_owner": Text("权属单位", "Owner"),
    "department_upkeep": Text("养护单位", "Maintainer"),
    "grid_cell": Text("单元网格", "Grid cell"),
    "component_code": Text("部件标识码", "Component code"),
    "codec": Text("报文格式", "Wire format"),
    "wire_address": Text("通信地址", "Wire address"),
    "presence": Text("在线声明", "Says it is there"),
    "presence_online": Text("在线", "online"),
    "presence_offline": Text("离线", "offline"),
    "cadence": Text("上报周期", "Reports every"),
    "coordinates": Text("坐标", "Coordinates"),
    "kind": Text("类别", "Kind"),
    "facts": Text("档案", "Facts"),
    "age": Text("距今", "Age"),
    "priority": Text("优先级", "Priority"),
    "alert": Text("告警", "Alert"),
    "since": Text("开始于", "Since"),
    "observed": Text("实测", "Observed"),
    "limit": Text("限值", "Limit"),
    "expected": Text("预期", "Expected"),
    "quantity": Text("参数", "Quantity"),
    "value": Text("数值", "Value"),
    "quality": Text("质量", "Quality"),
    "plausible": Text("合理范围", "Plausible range"),
    "unknown": Text("未登记", "not recorded"),
    # one device
    "history": Text("历史曲线", "History"),
    "range": Text("时间范围", "Range"),
    "range_1": Text("1 小时", "1 h"),
    "range_6": Text("6 小时", "6 h"),
    "range_24": Text("24 小时", "24 h"),
    "range_168": Text("7 天", "7 d"),
    "device_alerts": Text("本设备告警", "Alerts of this device"),
    "no_device_alerts": Text("此设备没有告警记录。", "No alert of this device is on record."),
    "never_reported": Text("此设备登记后从未上报。", "This device has never reported since it was registered."),
    # rules
    "rules": Text("规则", "Rules"),
    "rule": Text("规则", "Rule"),
    "threshold": Text("阈值", "Threshold"),
    "declared": Text("出厂阈值", "Declared"),
    "changed_now": Text("已作修改", "Changed"),
    "no_change": Text("无", "none"),
    "change_rule": Text("修改阈值", "Change a threshold"),
    "scope": Text("范围", "For"),
    "scope_kind": Text("全部同类设备", "all of the kind"),
    "scope_district": Text("区", "district"),
    "scope_street": Text("街道", "street"),
    "scope_group": Text("分组", "group"),
    "scope_site": Text("站点", "site"),
    "scope_device": Text("设备", "device"),
    "target": Text("名称或编号", "Its name or id"),
    "from_when": Text("生效时间（空：立即）", "From (empty: now)"),
    "until_when": Text("失效时间（空：长期）", "Until (empty: for good)"),
    "change_reason": Text("修改理由", "Reason"),
    "preview": Text("先预演", "Preview"),
    "preview_days": Text("预演天数", "Days to look at"),
    "set_now": Text("确认修改", "Change it"),
    "preview_title": Text("预演：", "Preview:"),
    "preview_counts": Text(
        "{start} 至 {end}：现行规则 {before} 条告警，修改后 {after} 条。尚未作任何修改。",
        "{start} to {end}: {before} alerts by the rule as it is, {after} with the change. Nothing is changed yet.",
    ),
    "preview_same": Text("告警没有差别。", "The alerts are the same."),
    "rule_history": Text("修改记录", "History of changes"),
    "no_history": Text("还没有人修改过这类设备的规则。", "Nobody has changed a rule of this kind yet."),
    "withdraw": Text("撤销", "Take back"),
    "withdrawn_by": Text("撤销人", "taken back by"),
    "change_holds": Text("生效中", "holds"),
    "change_waits": Text("尚未生效", "not yet"),
    "change_ended": Text("已失效", "ended"),
    "holds_from": Text("自 {at} 起", "from {at}"),
    "holds_until": Text("至 {at}", "until {at}"),
    "what_the_rule_saw": Text("规则判定时所见", "What the rule saw"),
    # gateways
    "gateways": Text("网关", "Gateways"),
    "gateway_hint": Text("编号、站点、板型、序列号", "id, site, board, serial number"),
    "firmware": Text("固件", "Firmware"),
    "board": Text("板型与版次", "Board"),
    "flashed": Text("刷写", "Flashed"),
    "first_reading": Text("首条数据", "First reading"),
    "provisioned_not_waited": Text("已配置，未等待数据", "configured, nobody waited"),
    "provisioned_no_reading": Text("已配置，未见有效数据", "configured, no valid reading"),
    "provisioned_not_connected": Text("已配置，未连上", "configured, not connected"),
    "behind": Text("在报 / 下挂设备", "Reporting / devices"),
    "never_flashed": Text("无刷写记录", "no flash on record"),
    "no_gateways": Text("没有符合条件的网关。", "No gateway matches."),
    "more_gateways": Text("另有 {n} 个网关，请缩小范围。", "{n} more gateways; narrow the search."),
    "flash_unfinished": Text("未完成的刷写", "Unfinished flashes"),
    "flash_cut": Text(
        "{board}（{port}）：{at} 由 {who} 刷写，在“{step}”时中断，板上可能只有半个固件，须重新刷写。",
        "{board} at {port}: flashed by {who} at {at}, cut while it was at “{step}”; the board may hold half an "
        "image and must be flashed again.",
    ),
    "flash_step_identify": Text("识别", "identify"),
    "flash_step_preflight": Text("核对", "preflight"),
    "flash_step_erase": Text("擦除", "erase"),
    "flash_step_write": Text("写入", "write"),
    "flash_step_verify": Text("校验", "verify"),
    "flash_step_boot": Text("启动检查", "boot check"),
    "proof_read_back": Text("逐字节读回校验", "read back"),
    "proof_device_digest": Text("设备摘要校验", "device digest"),
    "proof_device_signature_check": Text("设备验签", "device signature check"),
    "proof_application_digest": Text("应用自报摘要", "application digest"),
    # one alert
    "why": Text("原因", "Why"),
    "where": Text("地点", "Where"),
    "since_when": Text("时间", "Since when"),
    "evidence": Text("证据", "Evidence"),
    "rule_version": Text("规则与版本", "Rule and version"),
    "rule_inputs": Text("规则参数", "Rule parameters"),
    "hold_time": Text("保持时间", "Hold time"),
    "window": Text("观察窗口", "Window looked at"),
    "onset": Text("异常开始", "Condition began"),
    "raised": Text("告警产生", "Raised"),
    "updated": Text("最近更新", "Last change"),
    "cleared": Text("已恢复", "Cleared"),
    "status_active": Text("持续中", "active"),
    "status_acknowledged": Text("已确认", "acknowledged"),
    "state_active": Text("持续中 · 未确认", "active · unacknowledged"),
    "state_acknowledged": Text("持续中 · 已确认", "active · acknowledged"),
    "state_cleared": Text("已恢复 · 未确认", "returned · unacknowledged"),
    "state_closed": Text("已恢复", "returned to normal"),
    "course": Text("经过", "Course"),
    "step_raise": Text("告警产生", "raised"),
    "step_update": Text("情况变化", "changed"),
    "step_clear": Text("恢复正常", "returned to normal"),
    "step_acknowledge": Text("确认", "acknowledged"),
    "by_rule": Text("规则", "rule"),
    "status": Text("当前状态", "Status"),
    "whole_device": Text("整台设备", "the device as a whole"),
    "alert_id": Text("告警编号", "Alert id"),
    "window_chart": Text("窗口曲线", "Chart of the window"),
    "not_applicable": Text("不适用", "not applicable"),
    "not_acknowledged": Text("未确认", "not acknowledged"),
    "acknowledged_by": Text("{by} 于 {at} 确认", "acknowledged by {by} at {at}"),
    "acknowledgement": Text("确认", "Acknowledgement"),
    "acknowledge": Text("确认告警", "Acknowledge"),
    "verdict": Text("现场核实", "What was found on the spot"),
    "verdict_true": Text("属实", "true alarm"),
    "verdict_false": Text("误报", "false alarm"),
    "verdict_note": Text("现场情况", "What was found"),
    "verdict_none": Text("还没有人核实。", "Nobody has said yet whether it was true."),
    "your_name": Text("姓名或工号", "Your name or staff number"),
    # words of the pipeline
    "severity_high": Text("高", "high"),
    "severity_medium": Text("中", "medium"),
    "severity_low": Text("低", "low"),
    "quality_good": Text("有效", "good"),
    "quality_suspect": Text("可疑", "suspect"),
    "quality_maintenance": Text("维护", "maintenance"),
    "quality_bad": Text("无效", "bad"),
    "quality_missing": Text("缺失", "missing"),
    "gateway_kind": Text("网关", "gateway"),
    "rule_gateway_silent": Text("网关失联", "gateway silent"),
    "seconds": Text("{n} 秒", "{n} s"),
    # refusals
    "error_title": Text("无法显示", "Cannot be shown"),
    "back": Text("返回总览", "Back to the overview"),
    "error_host": Text(
        "拒绝：本服务不使用主机名 {host}；请用 {expected} 访问。",
        "Refused: this console is not called {host}; open it as {expected}.",
    ),
    "error_method": Text("拒绝：{path} 只接受 {allowed}。", "Refused: {path} takes {allowed} only."),
    "error_path": Text("没有这个页面：{path}。", "There is no page {path}."),
    "error_device": Text(
        "没有登记设备 {device}；请检查编号。", "Device {device} is not registered; check the id."
    ),
    "error_alert": Text("没有编号为 {alert} 的告警。", "There is no alert {alert}."),
    "error_kind": Text(
        "没有类别 {kind}；可选：{expected}。", "There is no kind {kind}; expected one of {expected}."
    ),
    "error_quantity": Text(
        "设备 {device} 没有参数 {quantity}；可选：{expected}。",
        "Device {device} has no quantity {quantity}; expected one of {expected}.",
    ),
    "error_parameter": Text(
        "参数 {name}：应为{expected_zh}，收到 {got}；未作查询。",
        "Parameter {name}: expected {expected}, got {got}; nothing was looked up.",
    ),
    "error_field": Text(
        "{name_zh}：应为{expected_zh}，收到 {got}；未作任何更改。",
        "{name}: expected {expected}, got {got}; nothing was changed.",
    ),
    "error_unknown_parameter": Text(
        "不认识参数 {name}；可用：{expected}。", "Unknown parameter {name}; expected one of {expected}."
    ),
    "error_busy": Text(
        "打开的页面过多（上限 {n}）；请关闭一些再试。",
        "Too many open pages (limit {n}); close some and try again.",
    ),
    "error_source": Text("数据源暂时不可用：{why}", "The data source is not available now: {why}"),
    "error_refused": Text("拒绝：{why}", "Refused: {why}"),
    "error_origin": Text(
        "拒绝：请求来自别的网站，未作任何更改。",
        "Refused: the request came from another site; nothing was changed.",
    ),
    "error_internal": Text(
        "内部错误，已记入日志；请刷新或联系工程师。",
        "An internal error, now in the log; reload or call an engineer.",
    ),
}


class Words:
    """The console's texts in one language: `words("page_of", page=1, ...)`."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, key: str, **fields: object) -> str:
        """The text called `key` with `fields` filled in; KeyError for a key that does not exist."""
        text = self.pick(TEXTS[key])
        return text.format(**fields) if fields else text

    def pick(self, text: Text) -> str:
        """The side of `text` in this language."""
        return text.zh if self.language == "zh" else text.en

    def script(self) -> dict[str, str]:
        """The texts for the page's script, without their prefix."""
        return {key.removeprefix("js_"): self(key) for key in TEXTS if key.startswith("js_")}


def both(key: str, **fields: object) -> Text:
    """The text called `key` in both languages, with `fields` filled in."""
    return Text(*(side.format(**fields) for side in TEXTS[key]))
