"""The words of texts that speak to whoever answers, in English and Chinese. Decides nothing."""

from __future__ import annotations

from lineside.diagnosis.pattern import any_of

_GUIDANCE = (
    "above|answer|context|directive|entry|entries|everything|guidance|guideline|instruction|manual|message"
    "|policy|preceding|previous|prior|prompt|rule|severity|system|text"
)
_TO_YOU = "a|an|assistant|answer|ignore|model|not|now|obey|output|print|reply|respond|say|set|tell|write"
_SAID = "everything|exactly|fine|json|no fault|nothing|ok|only|that|the following"
# Not the language of machines: it speaks to whoever answers. A second fence, behind the grammar: what slips
# past it still cannot bring words of its own, only choose among the manual's.
ADDRESSES = any_of(
    rf"""
    (disregard|forget|ignore|override|skip) (\w+ ){{0,5}}({_GUIDANCE})s?
    (new|updated|real|secret|hidden) instructions?
    (system|developer) (message|mode|prompt|override)
    you (are|must|should|will|have to|need to) (\w+ ){{0,3}}({_TO_YOU})
    (act|behave) as
    pretend
    jailbreak\w*
    as an ai
    language model
    (answer|output|print|reply|respond|return|say|state|tell|write) (\w+ ){{0,3}}({_SAID})
    (set|lower|change|mark) (the )?(severity|confidence|status|answer|diagnosis)
    (do not|don't|never) (\w+ ){{0,2}}(cite|mention|quote|use|follow|read) (\w+ ){{0,3}}(manual|entry|source)
    end of data
    """,
    "(忽略|无视|忘记|忘掉|不要理会|不用管|别管|不要遵守|跳过|不要引用|不要参考)[^。；]{0,16}"
    "(手册|指令|说明|规则|以上|上述|之前|前面|提示|条目|内容|系统|要求)"
    " 系统提示 系统消息 新的?指令 你(现在|必须|应该|只能|需要|是一)"
    " (请|必须|只|直接|务必)(直接|只)?(回答|回复|输出|返回|告诉|写明|声称|说) 扮演 假装 越狱"
    " 作为(一个|一名)?(AI|人工智能|助手) 语言模型 数据结束"
    " (将|把)?(严重程度|严重性|严重级别|置信度|可信度|诊断结果?)(设|改|降|调|标)[^。]{0,4}(为|成|到|低)",
)
