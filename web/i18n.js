/*
 * i18n.js -- the words of the page, and how dates are written.
 *
 * The language is that of the browser, until the user chooses another one.
 */

const WORDS = {
    en: {
        chat: 'Chat', welcome: 'Welcome back',
        create_account: 'Create an account',
        sign_in: 'Sign in', sign_up: 'Create account', name: 'Name',
        password: 'Password', to_sign_up: 'New here? Create an account',
        to_sign_in: 'I have an account already',
        name_hint: '3 to 32 letters, digits, dots, hyphens or underscores',
        password_hint: 'At least 8 characters',
        conversations: 'Conversations', search: 'Search conversations',
        new_chat: 'New conversation', settings: 'Settings', back: 'Back',
        details: 'Details', close: 'Close', send: 'Send message',
        write: 'Write a message', messages: 'Messages with {name}',
        no_conversations: 'No conversations yet',
        no_conversations_hint: 'Start one with somebody whose name you know.',
        nothing_found: 'Nothing found', choose: 'Choose a conversation',
        choose_hint: 'Or start a new one.', say_hello: 'Say hello to {name}',
        online: 'online', offline: 'offline', you: 'You',
        n_online: '{n} online', n_members: '{n} members',
        live: 'live', live_room: 'Live room', unread: '{n} unread',
        today: 'Today', yesterday: 'Yesterday', new_messages: 'New messages',
        to_end: 'Go to the latest message', sent: 'sent', sending: 'sending',
        not_sent: 'Not sent', retry: 'Send again', remove: 'Remove',
        state_connecting: 'Connecting…', state_syncing: 'Fetching messages…',
        state_online: 'Connected', state_waiting: 'No connection',
        state_wait_s: 'No connection. Next try in {n} s', try_now: 'Try now',
        state_closed: 'Disconnected',
        ended_replaced: 'Another device has taken the place of this one.',
        use_here: 'Use this device', ended_session: 'You were signed out.',
        ended_refused: 'The server has refused this client.',
        person: 'Person', group: 'Group', join: 'Join', kind: 'Kind',
        user_name: 'Name of the user', start: 'Start', group_name: 'Group name',
        member_names: 'Members, separated by commas', create: 'Create',
        room_name: 'Room name', room_number: 'Number of the room',
        live_hint: 'Anybody who knows the number can enter. '
            + 'It counts who is there.',
        keep_history: 'Keep its messages',
        language: 'Language', appearance: 'Appearance', theme_auto: 'System',
        theme_light: 'Light', theme_dark: 'Dark', account: 'Account',
        signed_in_as: 'Signed in as {name}', this_device: 'This device: {name}',
        sign_out: 'Sign out', change_password: 'Change password',
        old_password: 'Present password', new_password: 'New password',
        password_changed: 'Changed. All other sessions have ended.',
        ends_others: 'This ends all your other sessions.',
        blocked_users: 'Blocked users', nobody_blocked: 'Nobody is blocked.',
        block: 'Block', unblock: 'Unblock', pinned: 'Pin to the top',
        muted: 'Mute', hide: 'Hide this conversation', members: 'Members',
        add_member: 'Add a member', add: 'Add', leave: 'Leave', owner: 'owner',
        admin: 'admin', dismiss: 'Dismiss this room for ever',
        number_of_room: 'Number: {n}', load_more: 'Show more',
        removed: 'You are not in this room.', loading: 'Loading…',
        begin: 'This is where it begins.', error: 'That did not work: {what}',
        e_bad_credentials: 'Wrong name or password.',
        e_name_taken: 'This name is taken.',
        e_bad_name: 'This name cannot be used.',
        e_bad_password: 'A password has 8 to 128 characters.',
        e_no_such_user: 'There is no such user.',
        e_no_such_room: 'There is no such room.',
        e_blocked: 'This user does not accept your messages.',
        e_muted: 'You may not speak here at present.',
        e_too_large: 'This message is too long.',
        e_network: 'The server cannot be reached.',
        e_not_member: 'You are not a member.', e_gone: 'No connection.',
        e_room_dismissed: 'This room was dismissed.',
    },
    zh: {
        chat: '聊天', welcome: '欢迎回来', create_account: '创建账号',
        sign_in: '登录', sign_up: '注册', name: '用户名', password: '密码',
        to_sign_up: '还没有账号？立即注册', to_sign_in: '已有账号，去登录',
        name_hint: '3 到 32 个字母、数字、点、连字符或下划线',
        password_hint: '至少 8 个字符', conversations: '会话',
        search: '搜索会话', new_chat: '新会话', settings: '设置', back: '返回',
        details: '详情', close: '关闭', send: '发送消息', write: '输入消息',
        messages: '与 {name} 的消息', no_conversations: '还没有会话',
        no_conversations_hint: '输入对方的用户名即可开始聊天。',
        nothing_found: '没有找到', choose: '选择一个会话',
        choose_hint: '或者开始新的会话。', say_hello: '向 {name} 打个招呼吧',
        online: '在线', offline: '离线', you: '我', n_online: '{n} 人在线',
        n_members: '{n} 名成员', live: '直播', live_room: '直播间',
        unread: '{n} 条未读', today: '今天', yesterday: '昨天',
        new_messages: '新消息', to_end: '跳到最新消息', sent: '已发送',
        sending: '发送中', not_sent: '未发送', retry: '重新发送',
        remove: '移除', state_connecting: '正在连接…',
        state_syncing: '正在收取消息…', state_online: '已连接',
        state_waiting: '网络已断开', state_wait_s: '网络已断开，{n} 秒后重试',
        try_now: '立即重试', state_closed: '未连接',
        ended_replaced: '账号已在另一台设备上使用。', use_here: '在此设备使用',
        ended_session: '你已退出登录。', ended_refused: '服务器拒绝了此客户端。',
        person: '个人', group: '群组', join: '加入', kind: '类型',
        user_name: '对方的用户名', start: '开始聊天', group_name: '群名称',
        member_names: '成员，用逗号分隔', create: '创建',
        room_name: '房间名称', room_number: '房间号',
        live_hint: '知道房间号的人都可以进入，并显示在线人数。',
        keep_history: '保留消息', language: '语言', appearance: '外观',
        theme_auto: '跟随系统', theme_light: '浅色', theme_dark: '深色',
        account: '账号', signed_in_as: '当前用户：{name}',
        this_device: '本设备：{name}', sign_out: '退出登录',
        change_password: '修改密码', old_password: '当前密码',
        new_password: '新密码', password_changed: '已修改，其他会话均已退出。',
        ends_others: '修改后，其他设备上的登录都会失效。',
        blocked_users: '黑名单', nobody_blocked: '黑名单为空。',
        block: '拉黑', unblock: '取消拉黑', pinned: '置顶', muted: '免打扰',
        hide: '隐藏此会话', members: '成员', add_member: '添加成员',
        add: '添加', leave: '退出', owner: '群主', admin: '管理员',
        dismiss: '永久解散此房间', number_of_room: '房间号：{n}',
        load_more: '显示更多', removed: '你不在此房间中。', loading: '加载中…',
        begin: '会话从这里开始。', error: '操作失败：{what}',
        e_bad_credentials: '用户名或密码错误。', e_name_taken: '用户名已被使用。',
        e_bad_name: '此用户名不可用。', e_bad_password: '密码需为 8 到 128 个字符。',
        e_no_such_user: '没有这个用户。', e_no_such_room: '没有这个房间。',
        e_blocked: '对方不接收你的消息。', e_muted: '你当前被禁言。',
        e_too_large: '消息太长。', e_network: '无法连接服务器。',
        e_not_member: '你不是成员。', e_gone: '网络已断开。',
        e_room_dismissed: '此房间已解散。',
    },
    ar: {
        chat: 'الدردشة', welcome: 'مرحبًا بعودتك', create_account: 'إنشاء حساب',
        sign_in: 'تسجيل الدخول', sign_up: 'إنشاء الحساب', name: 'الاسم',
        password: 'كلمة المرور', to_sign_up: 'جديد هنا؟ أنشئ حسابًا',
        to_sign_in: 'لدي حساب بالفعل',
        name_hint: 'من 3 إلى 32 حرفًا لاتينيًا أو رقمًا أو نقطة أو شرطة',
        password_hint: '8 أحرف على الأقل', conversations: 'المحادثات',
        search: 'البحث في المحادثات', new_chat: 'محادثة جديدة',
        settings: 'الإعدادات', back: 'رجوع', details: 'التفاصيل',
        close: 'إغلاق', send: 'إرسال الرسالة', write: 'اكتب رسالة',
        messages: 'الرسائل مع {name}', no_conversations: 'لا محادثات بعد',
        no_conversations_hint: 'ابدأ محادثة مع شخص تعرف اسمه.',
        nothing_found: 'لا نتائج', choose: 'اختر محادثة',
        choose_hint: 'أو ابدأ محادثة جديدة.', say_hello: 'قل مرحبًا لـ {name}',
        online: 'متصل', offline: 'غير متصل', you: 'أنت',
        n_online: '{n} متصل', n_members: '{n} عضو', live: 'مباشر',
        live_room: 'غرفة مباشرة', unread: '{n} غير مقروءة', today: 'اليوم',
        yesterday: 'أمس', new_messages: 'رسائل جديدة',
        to_end: 'إلى أحدث رسالة', sent: 'أُرسلت', sending: 'جارٍ الإرسال',
        not_sent: 'لم تُرسل', retry: 'إعادة الإرسال', remove: 'إزالة',
        state_connecting: 'جارٍ الاتصال…', state_syncing: 'جارٍ جلب الرسائل…',
        state_online: 'متصل', state_waiting: 'لا يوجد اتصال',
        state_wait_s: 'لا يوجد اتصال. المحاولة التالية بعد {n} ث',
        try_now: 'حاول الآن', state_closed: 'غير متصل',
        ended_replaced: 'حل جهاز آخر محل هذا الجهاز.',
        use_here: 'استخدم هذا الجهاز', ended_session: 'تم تسجيل خروجك.',
        ended_refused: 'رفض الخادم هذا العميل.', person: 'شخص',
        group: 'مجموعة', join: 'انضمام', kind: 'النوع',
        user_name: 'اسم المستخدم', start: 'ابدأ', group_name: 'اسم المجموعة',
        member_names: 'الأعضاء، تفصل بينهم فواصل', create: 'إنشاء',
        room_name: 'اسم الغرفة', room_number: 'رقم الغرفة',
        live_hint: 'يمكن لكل من يعرف الرقم الدخول، ويظهر عدد الحاضرين.',
        keep_history: 'حفظ الرسائل', language: 'اللغة', appearance: 'المظهر',
        theme_auto: 'النظام', theme_light: 'فاتح', theme_dark: 'داكن',
        account: 'الحساب', signed_in_as: 'الدخول باسم {name}',
        this_device: 'هذا الجهاز: {name}', sign_out: 'تسجيل الخروج',
        change_password: 'تغيير كلمة المرور',
        old_password: 'كلمة المرور الحالية',
        new_password: 'كلمة المرور الجديدة',
        password_changed: 'تم التغيير، وانتهت الجلسات الأخرى.',
        ends_others: 'هذا ينهي كل جلساتك الأخرى.',
        blocked_users: 'المحظورون', nobody_blocked: 'لا أحد محظور.',
        block: 'حظر', unblock: 'إلغاء الحظر', pinned: 'تثبيت في الأعلى',
        muted: 'كتم', hide: 'إخفاء هذه المحادثة', members: 'الأعضاء',
        add_member: 'إضافة عضو', add: 'إضافة', leave: 'مغادرة',
        owner: 'المالك', admin: 'مشرف', dismiss: 'حل هذه الغرفة نهائيًا',
        number_of_room: 'الرقم: {n}', load_more: 'عرض المزيد',
        removed: 'لست في هذه الغرفة.', loading: 'جارٍ التحميل…',
        begin: 'هنا تبدأ المحادثة.', error: 'لم ينجح ذلك: {what}',
        e_bad_credentials: 'الاسم أو كلمة المرور غير صحيحين.',
        e_name_taken: 'هذا الاسم مستخدم.',
        e_bad_name: 'لا يمكن استخدام هذا الاسم.',
        e_bad_password: 'كلمة المرور من 8 إلى 128 حرفًا.',
        e_no_such_user: 'لا يوجد مستخدم بهذا الاسم.',
        e_no_such_room: 'لا توجد غرفة بهذا الرقم.',
        e_blocked: 'هذا المستخدم لا يقبل رسائلك.',
        e_muted: 'لا يمكنك الكلام هنا حاليًا.',
        e_too_large: 'الرسالة طويلة جدًا.',
        e_network: 'تعذر الوصول إلى الخادم.', e_not_member: 'لست عضوًا.',
        e_gone: 'لا يوجد اتصال.', e_room_dismissed: 'تم حل هذه الغرفة.',
    },
};

export const LANGUAGES = { en: 'English', zh: '中文', ar: 'العربية' };

let language = 'en';

export function setLanguage(wanted) {
    const all = [wanted, ...navigator.languages ?? []].filter(Boolean);
    language = all.map((l) => l.slice(0, 2)).find((l) => WORDS[l]) ?? 'en';
    document.documentElement.lang = language === 'zh' ? 'zh-Hans' : language;
    document.documentElement.dir = language === 'ar' ? 'rtl' : 'ltr';
    document.title = t('chat');
}

export function currentLanguage() {
    return language;
}

export function t(key, values = {}) {
    const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

export function problemText(e) {
    const key = 'e_' + e.code;
    return WORDS.en[key] ? t(key) : t('error', { what: e.message });
}

// The region of the browser, if it speaks this language.
function format(options) {
    const locale = navigator.languages.find((l) => l.startsWith(language))
        ?? { zh: 'zh-CN' }[language] ?? language;
    return new Intl.DateTimeFormat(locale, options);
}

export function clockTime(ms) {
    return format({ hour: '2-digit', minute: '2-digit' }).format(ms);
}

const dayOf = (ms) => new Date(ms).setHours(0, 0, 0, 0);

export function sameDay(a, b) {
    return dayOf(a) === dayOf(b);
}

export function dayName(ms) {
    const days = Math.round((dayOf(Date.now()) - dayOf(ms)) / 86400000);
    if (days === 0 || days === 1) {
        return t(days ? 'yesterday' : 'today');
    }
    return format(days < 7 ? { weekday: 'long' }
        : { year: 'numeric', month: 'long', day: 'numeric' }).format(ms);
}

// Short, for the list.
export function shortTime(ms) {
    const days = Math.round((dayOf(Date.now()) - dayOf(ms)) / 86400000);
    return days === 0 ? clockTime(ms) : days === 1 ? t('yesterday')
        : format(days < 7 ? { weekday: 'short' }
            : { month: 'numeric', day: 'numeric' }).format(ms);
}
